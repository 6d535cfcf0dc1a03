"""Where the big things lie: one folder, every file written under another name first."""

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CHUNK_BYTES = 1 << 20


class Artifacts:
    """The artifact store below one root folder; the database holds paths relative to it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def dataset_folder(self, dataset_id: str) -> Path:
        """Items, thumbnails and photos of one dataset."""
        return self.root / "datasets" / dataset_id

    def photos_folder(self, dataset_id: str) -> Path:
        """The photos of one dataset that the service drew or unpacked itself."""
        return self.dataset_folder(dataset_id) / "files"

    def partial_photos_folder(self, dataset_id: str, fence: int) -> Path:
        """What one attempt has of these photos; no other attempt can spoil it."""
        return self.dataset_folder(dataset_id) / f".files-{fence}.partial"

    def unpacking_file(self, dataset_id: str) -> Path:
        """What was left out of the archive that one dataset was unpacked from."""
        return self.dataset_folder(dataset_id) / "unpacked.json"

    def fetched_file(self, dataset_id: str) -> Path:
        """The archive that one dataset was fetched as, until its photos are unpacked."""
        return self.dataset_folder(dataset_id) / ".archive"

    def items_file(self, dataset_id: str) -> Path:
        """The listed photos of one dataset, one row each."""
        return self.dataset_folder(dataset_id) / "items.parquet"

    def thumbnails_folder(self, dataset_id: str) -> Path:
        """The small pictures of one dataset."""
        return self.dataset_folder(dataset_id) / "thumbs"

    def thumbnail(self, dataset_id: str, item_id: str, size_px: int) -> Path:
        """One photo's picture whose longest side has that many pixels."""
        return self.thumbnails_folder(dataset_id) / f"{item_id}-{size_px}.jpg"

    def job_folder(self, job_id: str) -> Path:
        """Everything that the attempts of one job have written."""
        return self.root / "jobs" / job_id

    def record_file(self, job_id: str) -> Path:
        """All that the database knew of one finished job, to be restored from."""
        return self.job_folder(job_id) / "job.json"

    def attempt_folder(self, job_id: str, fence: int) -> Path:
        """What one attempt writes: a frozen old attempt can spoil only its own folder."""
        return self.job_folder(job_id) / f"a{fence}"

    def inputs_folder(self, job_id: str) -> Path:
        """The files that came with the request for one job, named by their places."""
        return self.job_folder(job_id) / "inputs"

    def log_file(self, job_id: str, fence: int) -> Path:
        """What one attempt printed."""
        return self.attempt_folder(job_id, fence) / "log.txt"

    def model_file(self, model_id: str) -> Path:
        """The weights of one model."""
        return self.root / "models" / f"{model_id}.safetensors"

    def onnx_file(self, model_id: str, digest: str) -> Path:
        """One model for other programs; the name says the SHA-256 of the content."""
        return self.root / "models" / f"{model_id}.{digest}.onnx"

    def uploads_folder(self) -> Path:
        """The uploaded archives."""
        return self.root / "uploads"

    def upload_file(self, upload_id: str) -> Path:
        """One uploaded archive; equal ones are links to the same bytes."""
        return self.uploads_folder() / upload_id

    def pixels_folder(self) -> Path:
        """Presized pixels, shared by all jobs."""
        return self.root / "pixels"

    def relative(self, path: Path) -> str:
        """The name under which the database keeps this file."""
        return str(path.relative_to(self.root))

    def absolute(self, relative: str) -> Path:
        """The file that the database keeps under this name."""
        return self.root / relative


@contextmanager
def published(path: Path) -> Iterator[Path]:
    """A temporary path to write to; at the end its content is on the disk under ``path``.

    Readers see the old file or the new one, never a part. After an error nothing is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        yield temporary
        fsync(temporary)
        temporary.replace(path)
        fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of the file's bytes, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def fsync(path: Path) -> None:
    """The file's content, or the folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
