"""Where the big things lie: one folder, every file written under another name first.

With an object store the folder is this machine's own. What is made lies in it until the store keeps
it, too; what the store has is copied into it when it is needed. Names are the same in both.
"""

import errno
from pathlib import Path

from jobs.artifact_place import ArtifactPlace
from jobs.artifact_stores import FolderStore, Store
from jobs.bucket import Bucket
from jobs.bucket_store import BucketStore
from jobs.whole_files import fsync as fsync
from jobs.whole_files import published as published
from jobs.whole_files import sha256_of as sha256_of


class Artifacts:
    """The artifacts below one root folder; the database holds paths relative to it.

    Attributes:
        root: the folder.
        store: what keeps them; the folder itself where no other is given.
    """

    def __init__(self, root: Path, store: Store | None = None) -> None:
        self.root = root
        self.store = store or FolderStore()

    @classmethod
    def of(cls, place: ArtifactPlace, *, patience_s: float = 0.0) -> "Artifacts":
        """The artifacts of an installation.

        Args:
            place: the settings.
            patience_s: for how long an object store that does not answer is asked again.
        """
        if place.artifact_store is None:
            return cls(place.artifacts)
        bucket = Bucket(place.artifact_store, endpoint=place.artifact_endpoint)
        store = BucketStore(
            place.artifacts, bucket, links=place.artifact_redirects, patience_s=patience_s
        )
        return cls(place.artifacts, store)

    def fetched(self, file: Path, *, digest: str | None = None) -> Path:
        """The same file, which is on this machine if it is anywhere.

        Raises:
            OSError: the store cannot be asked, or what it has does not have this SHA-256.
        """
        came = self.store.fetch([file])
        is_wrong = came and digest is not None and file.is_file() and sha256_of(file) != digest
        if is_wrong:
            file.unlink()
            detail = "what the artifact store has does not have the SHA-256 that was recorded"
            raise OSError(errno.EIO, detail, str(file))
        return file

    def remove(self, file: Path) -> None:
        """The file is neither on this machine nor in the store.

        Raises:
            OSError: it cannot be removed.
        """
        file.unlink(missing_ok=True)
        self.store.forget(file)

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

    def step_times_folder(self) -> Path:
        """What steps of trainings take on a GPU, shared by all jobs."""
        return self.root / "step-times"

    def relative(self, path: Path) -> str:
        """The name under which the database keeps this file."""
        return str(path.relative_to(self.root))

    def absolute(self, relative: str) -> Path:
        """The file that the database keeps under this name."""
        return self.root / relative
