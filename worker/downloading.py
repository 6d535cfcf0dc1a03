"""Downloads an archive from elsewhere, going on where a broken connection left off."""

import re

from jobs.back_off import BackOff
from jobs.errors import SourceInterruptedError, SourceUnreachableError
from jobs.net import Answer, Guard
from worker.object_store import ObjectStore
from worker.partial_file import PartialFile
from worker.retried import retried
from worker.transfer import Transfer

_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)")
_MARKS = {"etag": re.compile(r'"[!-~]{0,1000}"'), "last-modified": re.compile(r"[ -~]{10,100}")}
_LATER = frozenset({408, 425, 429})
_ASKED = {"User-Agent": "tunesmith", "Accept": "*/*", "Accept-Encoding": "identity"}
"""Without a content coding: the archive is kept as its bytes are, and a range counts those."""


def download(
    guard: Guard, url: str, into: PartialFile, transfer: Transfer, *, back_off: BackOff
) -> None:
    """All bytes of the address are in the file.

    Raises:
        SourceForbiddenError: it leads to where nobody may go.
        SourceUnreachableError: it cannot be had, or broke off too often at the same point.
        ArchiveInvalidError, ArchiveTooLargeError: it is nothing to go on with.
        DiskFullError: the disk has no more room for it.
    """
    if not into.is_complete:
        retried(lambda: _take(guard, url, into, transfer), lambda: into.size_bytes, back_off)


def download_object(
    store: ObjectStore, into: PartialFile, transfer: Transfer, *, back_off: BackOff
) -> None:
    """All bytes of the store's object are in the file.

    Raises:
        SourceUnreachableError: it cannot be had, or broke off too often at the same point.
        ArchiveInvalidError, ArchiveTooLargeError: it is nothing to go on with.
        DiskFullError: the disk has no more room for it.
    """
    retried(lambda: _take_object(store, into, transfer), lambda: into.size_bytes, back_off)


def _take(guard: Guard, url: str, into: PartialFile, transfer: Transfer) -> None:
    with guard.get(url, {**_ASKED, **_rest_of(into)}) as answer:
        _begin(answer, into)
        transfer.total_bytes = into.total_bytes
        for chunk in answer.chunks:
            into.write(chunk)
            transfer.bytes = into.size_bytes


def _take_object(store: ObjectStore, into: PartialFile, transfer: Transfer) -> None:
    archive = store.archive()
    if into.mark is None or into.mark != archive.mark:
        into.begin(mark=archive.mark, total_bytes=archive.size_bytes)
    transfer.total_bytes = archive.size_bytes
    for chunk in store.chunks(archive, into.size_bytes):
        into.write(chunk)
        transfer.bytes = into.size_bytes


def _rest_of(into: PartialFile) -> dict[str, str]:
    """What asks for the bytes behind those that are here, if the source is still the same."""
    if into.size_bytes == 0 or into.mark is None:
        return {}
    return {"Range": f"bytes={into.size_bytes}-", "If-Range": into.mark}


def _begin(answer: Answer, into: PartialFile) -> None:
    """The file is where the bytes of the answer begin."""
    if answer.status == 200:
        length = answer.headers.get("content-length", "")
        into.begin(mark=_mark_of(answer), total_bytes=int(length) if length.isdecimal() else None)
    elif answer.status in {206, 416}:
        if not _goes_on(answer, into):
            into.begin(mark=None, total_bytes=None)
            raise SourceInterruptedError(f"{answer.address} does not go on where it broke off")
    elif answer.status in _LATER or answer.status >= 500:
        raise SourceInterruptedError(f"{answer.address} answers {answer.status}")
    else:
        raise SourceUnreachableError(f"{answer.address} answers {answer.status}")


def _goes_on(answer: Answer, into: PartialFile) -> bool:
    found = _RANGE.fullmatch(answer.headers.get("content-range", ""))
    if answer.status != 206 or found is None or int(found[1]) != into.size_bytes:
        return False
    is_same_size = found[2] == "*" or into.total_bytes in {None, int(found[2])}
    return is_same_size and _mark_of(answer) in {None, into.mark}


def _mark_of(answer: Answer) -> str | None:
    """What If-Range can be asked with: a strong entity tag, or else the date."""
    for name, form in _MARKS.items():
        if form.fullmatch(answer.headers.get(name, "")):
            return answer.headers[name]
    return None
