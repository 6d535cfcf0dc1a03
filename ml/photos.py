"""A photo with its label: what every data set is made of."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledPhoto:
    """One file and the class it belongs to."""

    item_id: str
    path: Path
    digest: str
    """SHA-256 of the file's bytes, hexadecimal; photos with equal digests have equal pixels."""
    label: int
    """Index of the class, from 0."""
