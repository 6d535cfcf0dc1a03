"""Files that are either whole or absent."""

import os
import threading
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """The file holds exactly these bytes, on the disk itself; readers never see a part of them.

    Raises:
        OSError: The bytes could not be written; a file that was there before is untouched.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
