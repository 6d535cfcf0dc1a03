"""What keeps artifacts: the folder that they are made in, or an object store behind it.

Files are named by where they lie, or would lie, in the folder. In the object store they have the
same names below its prefix, so that one can be copied into the other.
"""

import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from jobs.whole_files import published

_CHUNK_BYTES = 1 << 20


class Store(Protocol):
    """What keeps artifacts.

    Whatever asks an object store may raise OSError: EHOSTUNREACH where it does not answer,
    PermissionError where it refuses.
    """

    @property
    def is_apart(self) -> bool:
        """Whether it is elsewhere, so that files have to be kept and fetched."""

    def check(self) -> None:
        """Files can be kept, fetched and forgotten here.

        Raises:
            SettingsError: they never can with these settings.
        """

    def keep(self, files: Sequence[Path]) -> None:
        """These files, which are on this machine, outlive it; each is there whole or not at all."""

    def fetch(self, files: Sequence[Path]) -> list[Path]:
        """Those of these files that the store has are on this machine.

        Returns those that were not, whether the store has them or not.
        """

    def forget(self, path: Path) -> None:
        """The store does not have this file, nor anything in this folder.

        What lies in the folder on this machine is not touched.
        """

    def read(self, file: Path) -> bytes:
        """All bytes of a small file that is written again and again, as it is now."""

    def write(self, file: Path, content: bytes) -> None:
        """The small file has these bytes, for everybody."""

    def size_bytes(self, file: Path) -> int | None:
        """The file's size; None where it is neither here nor in the store."""

    def found(self, folder: Path, pattern: str) -> dict[Path, int]:
        """The files in the folder whose names fit, by name, with their sizes.

        ``**/*`` is all files in it, however deep.
        """

    def names(self, folder: Path) -> list[str]:
        """What lies directly in the folder, by name."""

    def chunks(self, file: Path, start: int, stop: int) -> Iterator[bytes]:
        """The file's bytes from ``start`` to before ``stop``, whose end is in the file."""

    def link(self, file: Path, *, name: str, media_type: str) -> str | None:
        """An address that clients can download the file from; None where there is none."""


class FolderStore:
    """The folder itself: whatever is in it is kept, and here already."""

    is_apart = False

    def check(self) -> None:
        """Nothing could be wrong."""

    def keep(self, files: Sequence[Path]) -> None:
        """They are."""

    def fetch(self, files: Sequence[Path]) -> list[Path]:
        """They are here."""
        return []

    def forget(self, path: Path) -> None:
        """Nothing is anywhere else."""

    def read(self, file: Path) -> bytes:
        """All bytes of the file."""
        return file.read_bytes()

    def write(self, file: Path, content: bytes) -> None:
        """The file has these bytes."""
        with published(file) as temporary:
            temporary.write_bytes(content)

    def size_bytes(self, file: Path) -> int | None:
        """The file's size; None where there is no such file."""
        try:
            status = file.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def found(self, folder: Path, pattern: str) -> dict[Path, int]:
        """The files in the folder whose names fit, by name, with their sizes."""
        return {
            path: path.stat().st_size for path in sorted(folder.glob(pattern)) if path.is_file()
        }

    def names(self, folder: Path) -> list[str]:
        """What lies directly in the folder, by name."""
        return sorted(path.name for path in folder.glob("*"))

    def chunks(self, file: Path, start: int, stop: int) -> Iterator[bytes]:
        """The file's bytes from ``start`` to before ``stop``, whose end is in the file."""
        with file.open("rb") as stream:
            stream.seek(start)
            while start < stop and (chunk := stream.read(min(_CHUNK_BYTES, stop - start))):
                start += len(chunk)
                yield chunk

    def link(self, file: Path, *, name: str, media_type: str) -> str | None:
        """None: a folder has no addresses."""
