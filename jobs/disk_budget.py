"""Whether there is space on a disk for what is about to be written."""

import shutil
from pathlib import Path

from jobs.errors import DiskFullError

THUMBNAILS_BYTES = 96 * 1024
"""What the thumbnails of one photo take on a disk, a little more than those of a detailed one."""


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
