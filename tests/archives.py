"""Archives made for tests: of photos, and of everything that nobody should unpack."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import zstandard

PHOTO = b"a photo, as far as names tell"
PETS = tuple(f"pets/{kind}/{number}.jpg" for kind in ("cat", "dog") for number in range(4))
"""Eight photos in two folders, in a folder that wraps them."""


def a_zip(contents: Mapping[str, bytes] | Iterable[str] = PETS) -> bytes:
    """A zip archive of these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in _contents(contents).items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def a_tar(
    contents: Mapping[str, bytes] | Iterable[str] = PETS,
    *,
    members: Sequence[tarfile.TarInfo] = (),
    format: int = tarfile.PAX_FORMAT,
) -> bytes:
    """A tar archive of these files, and of members that have no content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for name, content in _contents(contents).items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in members:
            archive.addfile(info)
    return buffer.getvalue()


def a_member(name: str, kind: bytes, *, link: str = "") -> tarfile.TarInfo:
    """A tar member without content."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def gzipped(content: bytes) -> bytes:
    """The content as gzip packs it."""
    return gzip.compress(content)


def zstandarded(content: bytes) -> bytes:
    """The content as zstd packs it."""
    return zstandard.ZstdCompressor().compress(content)


def of_each_format(contents: Mapping[str, bytes] | Iterable[str] = PETS) -> dict[str, bytes]:
    """The same files in every kind of archive."""
    tar = a_tar(contents)
    packed = {"tar.gz": gzipped(tar), "tar.zst": zstandarded(tar)}
    return {"zip": a_zip(contents), "tar": tar, **packed}


def files_below(folder: Path) -> dict[str, bytes]:
    """Paths and contents of all files below the folder."""
    files = (each for each in folder.rglob("*") if each.is_file())
    return {each.relative_to(folder).as_posix(): each.read_bytes() for each in files}


def _contents(contents: Mapping[str, bytes] | Iterable[str]) -> Mapping[str, bytes]:
    return contents if isinstance(contents, Mapping) else dict.fromkeys(contents, PHOTO)
