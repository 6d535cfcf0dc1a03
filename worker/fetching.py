"""From a source that names an archive to that archive as a file on this machine.

Whatever kinds of archive sources there are differ here and nowhere else. What was fetched is kept
as an upload is: bytes that are there already are stored once, and another dataset can be made of
it without fetching it again.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs import leases, uploads
from jobs.artifacts import sha256_of
from jobs.dataset_spec import Source, StoreSource, UploadSource, UrlSource
from jobs.errors import DigestMismatchError
from jobs.net import Guard
from jobs.sources import archives
from jobs.sources.object_places import Place, place_of
from worker import left_out
from worker.context import Context
from worker.control import Order
from worker.copying import Copying
from worker.downloading import download, download_object
from worker.failures import JobFailedError
from worker.object_store import ObjectStore
from worker.partial_file import PartialFile
from worker.patience import until_answered
from worker.retried import retried
from worker.transfer import Transfer, carried_out
from worker.unpacking import put_in_place

_FETCHING_SHARE = 0.4
_FILENAME_CHARACTERS = 255

ArchiveSource = UploadSource | UrlSource | StoreSource


def fetching_share(source: Source) -> float:
    """Share of the whole import that is over when the source is on this machine."""
    return _FETCHING_SHARE if isinstance(source, UrlSource | StoreSource) else 0.0


@contextmanager
def local_archive(context: Context, source: ArchiveSource) -> Iterator[Path]:
    """The archive's file, which stays as it is meanwhile; one that was of use is an upload then.

    Raises:
        JobFailedError: it cannot be had.
        JobsError: its source is forbidden, unreachable, broken, too large, or another than wished.
        StoppedError: it was broken off.
    """
    if isinstance(source, UploadSource):
        yield _uploaded(context, source)
        return
    file = context.artifacts.fetched_file(str(context.job.dataset_id))
    received = _fetched(context, source, file)
    try:
        yield file
        _keep(context, file, received)
    finally:
        if not _goes_on_later(context):
            file.unlink(missing_ok=True)


def copied_photos(
    context: Context, prefix: Place, folder: Path, *, record: Path, label_files: frozenset[str]
) -> None:
    """The folder has the photos and label files below the prefix, ``record`` what was left out.

    Raises:
        JobsError: the store refuses, or has more than is allowed.
        StoppedError: it was broken off.
    """
    context.tell(leases.enter_phase, "fetching")
    copying = Copying(
        prefix,
        beside=folder,
        fence=context.job.fence,
        limits=context.settings,
        label_files=label_files,
    )
    transfer = Transfer()

    def copy() -> None:
        retried(lambda: copying.take(transfer), lambda: transfer.bytes, context.settings)
        os.sync()

    try:
        carried_out(context, transfer, copy, share=_FETCHING_SHARE)
        left_out.record(record, copying.left_out)
        put_in_place(copying.folder, folder)
    finally:
        if not _goes_on_later(context):
            copying.discard()


def _uploaded(context: Context, source: UploadSource) -> Path:
    file = context.artifacts.fetched(context.artifacts.upload_file(source.upload_id))
    if not file.is_file():
        raise JobFailedError(
            "source_unreachable",
            f"upload {source.upload_id} is not in the artifact store",
            "send the archive again, then register the dataset with the new upload",
        )
    return file


def _fetched(context: Context, source: UrlSource | StoreSource, file: Path) -> uploads.Received:
    """The archive is in the file, and is what the client expects."""
    context.tell(leases.enter_phase, "fetching")
    if file.exists():
        there = Transfer()
        return carried_out(context, there, lambda: _received(source, file), share=_FETCHING_SHARE)
    partial = PartialFile(file.parent, context.job.fence, context.settings)
    transfer = Transfer(bytes=partial.size_bytes, total_bytes=partial.total_bytes)

    def fetch() -> uploads.Received:
        _take(context, source, partial, transfer)
        partial.finish()
        return _received(source, partial.path)

    try:
        received = carried_out(context, transfer, fetch, share=_FETCHING_SHARE)
        partial.path.rename(file)
    finally:
        if not _goes_on_later(context):
            partial.discard()
    return received


def _goes_on_later(context: Context) -> bool:
    """Whether another attempt has a use for what this one leaves."""
    return context.control.order == Order.LEAVE


def _take(
    context: Context, source: UrlSource | StoreSource, partial: PartialFile, transfer: Transfer
) -> None:
    settings = context.settings
    if isinstance(source, StoreSource):
        place = place_of(source.type, source.url, settings.remote_roots)
        download_object(ObjectStore(place), partial, transfer, back_off=settings)
    else:
        guard = Guard(
            targets=settings.targets,
            connect_s=settings.fetch_connect_s,
            idle_s=settings.fetch_idle_s,
        )
        download(guard, source.url, partial, transfer, back_off=settings)


def _received(source: UrlSource | StoreSource, file: Path) -> uploads.Received:
    """What has come, which is what the client expects."""
    digest = sha256_of(file)
    if isinstance(source, UrlSource) and source.sha256 not in {None, digest}:
        raise DigestMismatchError(
            f"the archive has the SHA-256 {digest}, not {source.sha256} as expected"
        )
    return uploads.Received(
        filename=source.url.partition("?")[0].rpartition("/")[2][:_FILENAME_CHARACTERS] or None,
        format=archives.format_in(file),
        digest=digest,
        size_bytes=file.stat().st_size,
    )


def _keep(context: Context, arrived: Path, received: uploads.Received) -> None:
    """The archive is an upload of the dataset's owner."""
    database, artifacts = context.database, context.artifacts
    artifacts.uploads_folder().mkdir(parents=True, exist_ok=True)
    upload_id = until_answered(lambda: uploads.keep(database, artifacts, arrived, received))

    def add() -> None:
        with database.write() as connection:
            uploads.add(connection, upload_id, received, owner=context.job.owner)

    until_answered(add)
