"""The service's own sample photos, as a plan: which names exist and what each photo shows.

Names are all a dataset listing needs, so nothing is drawn here.
"""

import hashlib
from dataclasses import dataclass

BUILDS = ("round", "slim")
COATS = ("patched", "spotted", "tabby")
CLASSES: tuple[str, ...] = tuple(f"{build}_{coat}" for build in BUILDS for coat in COATS)
MISLABELLED_FRACTION = 0.03


@dataclass(frozen=True, slots=True)
class SamplePhoto:
    """One photo of the plan; ``seed`` settles every pixel of ``drawn_class``."""

    name: str
    drawn_class: str
    named_class: str
    seed: int

    @property
    def is_mislabelled(self) -> bool:
        """Whether the file's name says another class than the one drawn."""
        return self.drawn_class != self.named_class


def sample_plan(*, photos_per_class: int = 60, seed: int = 1) -> tuple[SamplePhoto, ...]:
    """All sample photos in the order of their names, numbered from 1 within each named class.

    Three photos in a hundred, spread evenly over the classes, are mislabelled on purpose, so
    that a ledger of losses has something to find.

    Raises:
        ValueError: ``photos_per_class`` is below 1.
    """
    if photos_per_class < 1:
        raise ValueError(f"photos_per_class must be at least 1, not {photos_per_class}")
    photos = [
        photo
        for named_class, mislabelled in _mislabelled_per_class(photos_per_class).items()
        for photo in _photos_of_class(named_class, photos_per_class, mislabelled, seed)
    ]
    return tuple(sorted(photos, key=lambda photo: photo.name))


def _mislabelled_per_class(photos_per_class: int) -> dict[str, int]:
    total = round(MISLABELLED_FRACTION * photos_per_class * len(CLASSES))
    each, left = divmod(total, len(CLASSES))
    return {name: each + (index < left) for index, name in enumerate(CLASSES)}


def _photos_of_class(
    named_class: str, count: int, mislabelled: int, seed: int
) -> list[SamplePhoto]:
    names = [f"{named_class}_{number}.jpg" for number in range(1, count + 1)]
    by_lot = sorted(names, key=lambda name: _lot(seed, "mislabel", name))
    wrong = frozenset(by_lot[:mislabelled])
    return [
        SamplePhoto(
            name=name,
            drawn_class=_other_class(named_class, name, seed) if name in wrong else named_class,
            named_class=named_class,
            seed=_lot(seed, "draw", name),
        )
        for name in names
    ]


def _other_class(named_class: str, name: str, seed: int) -> str:
    """A class of another coat: an error of labelling that a person sees at a glance."""
    coat = named_class.split("_")[1]
    others = [other for other in CLASSES if not other.endswith(coat)]
    return others[_lot(seed, "drawn as", name) % len(others)]


def _lot(seed: int, purpose: str, name: str) -> int:
    """A number in [0, 2**32) that looks random, yet is the same on every machine."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{name}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
