"""Whether there is space on a disk for what is about to be written."""

import shutil
from pathlib import Path

from jobs.dataset_spec import SampleSource, Source
from jobs.errors import DiskFullError

_THUMBNAILS_BYTES = 3 * 4096
_DRAWN_PHOTO_BYTES = 24 * 1024


def least_bytes(source: Source, photos: int) -> int:
    """What an import of so many photos writes at the least: thumbnails, and what it draws."""
    drawn = _DRAWN_PHOTO_BYTES if isinstance(source, SampleSource) else 0
    return photos * (_THUMBNAILS_BYTES + drawn)


def require_free(folder: Path, needed_bytes: int, *, kept_free_bytes: int) -> None:
    """The folder's disk has room for so many bytes beside those that must stay free.

    Raises:
        DiskFullError: it has not.
    """
    nearest = next(each for each in (folder, *folder.parents) if each.exists())
    free_bytes = shutil.disk_usage(nearest).free
    if free_bytes - needed_bytes < kept_free_bytes:
        raise DiskFullError(
            f"{needed_bytes} bytes are needed, and {kept_free_bytes} must stay free; "
            f"the artifacts' disk has {free_bytes}"
        )
