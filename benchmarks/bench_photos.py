"""Photos as both sides read them: train/ and valid/, a folder for each class."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from jobs.sources.sample import sample_plan
from ml.sample.photos import write_photo
from ml.theory.splits import stratified_split

PATTERN = re.compile(r"^(.+)_\d+\.jpg$")
"""What finds the label of a photo in a folder that is not split yet."""
VALID_FRACTION = 0.2
SPLIT_SEED = 42
SUFFIXES = {".jpg", ".jpeg", ".png"}
Member = tuple[str, str, Path]
"""Part, label and file of a photo."""


def laid_out(
    source: Path | None, target: Path, *, copies: int = 1, drawn_per_class: int = 60
) -> Path:
    """The target, with the photos of the source in it, or with photos that the service draws.

    A source has train/ and valid/ or val/ with a folder for each class, or photos whose names say
    their labels (``PATTERN``). Of each photo ``copies`` lie there, under other names and with a
    byte more at the end, so that nothing takes them for the same file.
    """
    members = list(_members(source) if source else _drawn(target / ".drawn", drawn_per_class))
    for part, label, file in members:
        folder = target / part / label
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(copies):
            copy = folder / f"{number}-{file.name}"
            copy.write_bytes(file.read_bytes() + bytes(number))
    shutil.rmtree(target / ".drawn", ignore_errors=True)
    return target


def _members(source: Path) -> Iterator[Member]:
    valid = next((source / name for name in ("valid", "val") if (source / name).is_dir()), None)
    if valid is None:
        yield from _split({file: _label(file) for file in _photos(source)})
        return
    for part, folder in (("train", source / "train"), ("valid", valid)):
        yield from ((part, file.parent.name, file) for file in _photos(folder))


def _drawn(folder: Path, per_class: int) -> Iterator[Member]:
    folder.mkdir(parents=True)
    labels: dict[Path, str] = {}
    for photo in sample_plan(photos_per_class=per_class):
        file = folder / photo.name
        write_photo(file, drawn_class=photo.drawn_class, seed=photo.seed)
        labels[file] = photo.named_class
    yield from _split(labels)


def _split(labels: dict[Path, str]) -> Iterator[Member]:
    files = sorted(labels)
    valid = set(
        stratified_split([labels[file] for file in files], VALID_FRACTION, SPLIT_SEED).valid
    )
    for place, file in enumerate(files):
        yield "valid" if place in valid else "train", labels[file], file


def _photos(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)


def _label(file: Path) -> str:
    found = PATTERN.search(file.name)
    if found is None:
        raise SystemExit(f"{file.name} has no label: {PATTERN.pattern} finds none")
    return found.group(1)
