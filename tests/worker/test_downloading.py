"""Downloads from servers that break off, change, lie, drip and never end."""

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.addresses import PrivateTargets
from jobs.back_off import BackOff
from jobs.errors import (
    ArchiveInvalidError,
    ArchiveTooLargeError,
    DiskFullError,
    SourceForbiddenError,
    SourceInterruptedError,
    SourceTimeoutError,
    SourceUnreachableError,
)
from jobs.net import Guard
from jobs.source_limits import SourceLimits
from jobs.sources import archives
from tests.archives import a_tar
from tests.web_server import Handler, WebServer, a_file, redirect, serving, status
from worker.downloading import download
from worker.partial_file import PartialFile
from worker.transfer import Transfer

ARCHIVE = a_tar({f"{name}.jpg": hashlib.sha256(b"%d" % name).digest() * 99 for name in range(20)})
SIZE = len(ARCHIVE)
Fetch = Callable[..., bytes]


@pytest.fixture
def server() -> Iterator[WebServer]:
    with serving() as server:
        yield server


@pytest.fixture
def fetched(server: WebServer, tmp_path: Path) -> Fetch:
    """Downloads `/a` of the server, and tells what has come."""

    def run(*, fence: int = 1, path: str = "/a", idle_s: float = 5, **limits: Any) -> bytes:  # noqa: ANN401
        into = a_partial(tmp_path, fence, **limits)
        transfer = Transfer(bytes=into.size_bytes)
        guard = Guard(targets=PrivateTargets.of(["127.0.0.1"]), connect_s=5, idle_s=idle_s)
        try:
            download(guard, server.url(path), into, transfer, back_off=BackOff(io_pause_s=0))
            into.finish()
            archives.format_in(into.path)
        finally:
            into.release()
        assert transfer.bytes == into.size_bytes
        return into.path.read_bytes()

    return run


def a_partial(folder: Path, fence: int, **limits: Any) -> PartialFile:  # noqa: ANN401
    return PartialFile(folder / "dataset", fence, SourceLimits().model_copy(update=limits))


def test_the_file_is_what_the_server_has(server: WebServer, fetched: Fetch) -> None:
    server.answers |= {"/a": redirect("/b"), "/b": a_file(ARCHIVE)}

    assert fetched() == ARCHIVE
    assert server.asked[0][1]["Accept-Encoding"] == "identity"


def test_a_content_coding_is_not_undone(server: WebServer, fetched: Fetch) -> None:
    """What claims to be packed on the way is stored as its bytes are, and unpacks nothing."""
    server.answers["/a"] = status(200, ARCHIVE, Content_Encoding="gzip")

    assert fetched() == ARCHIVE


def test_a_download_goes_on_where_it_broke_off(server: WebServer, fetched: Fetch) -> None:
    server.answers["/a"] = a_file(ARCHIVE, cuts=[10_000, 5_000])

    assert fetched() == ARCHIVE
    assert server.ranges() == [None, "bytes=10000-", "bytes=15000-"]
    assert {headers.get("If-Range") for _, headers in server.asked[1:]} == {'"1"'}


def test_a_download_that_cannot_go_on_begins_anew(server: WebServer, fetched: Fetch) -> None:
    server.answers["/a"] = a_file(ARCHIVE, cuts=[10_000], ranges=False)

    assert fetched() == ARCHIVE
    assert server.ranges() == [None, "bytes=10000-"]


@pytest.mark.parametrize("tag", [None, 'W/"1"', "1", '"\xe4"', f'"{"x" * 1001}"'])
def test_without_a_mark_of_the_version_no_part_is_asked_for(
    server: WebServer, fetched: Fetch, tag: str | None
) -> None:
    server.answers["/a"] = a_file(ARCHIVE, cuts=[10_000], tag=tag)

    assert fetched() == ARCHIVE
    assert server.ranges() == [None, None]


def test_a_date_marks_the_version_too(server: WebServer, fetched: Fetch) -> None:
    date = "Sun, 01 Mar 2026 12:00:00 GMT"

    def broken_off(handler: Handler) -> None:
        server.answers["/a"] = a_file(ARCHIVE, tag=date)
        handler.send_response(200)
        handler.send_header("Last-Modified", date)
        handler.send_header("Content-Length", str(SIZE))
        handler.end_headers()
        handler.wfile.write(ARCHIVE[:10_000])

    server.answers["/a"] = broken_off

    with contextlib.suppress(SourceInterruptedError):
        fetched()
    assert server.asked[1][1]["If-Range"] == date


def test_a_source_that_has_changed_begins_anew(server: WebServer, fetched: Fetch) -> None:
    changed = a_tar({"other.jpg": bytes(30_000)})

    def broken_off(handler: Handler) -> None:
        server.answers["/a"] = a_file(changed, tag='"2"')
        a_file(ARCHIVE, cuts=[10_000])(handler)

    server.answers["/a"] = broken_off

    assert fetched() == changed


@pytest.mark.parametrize(
    "wrong",
    [
        {"Content_Range": f"bytes 9999-{SIZE - 1}/{SIZE}"},
        {"Content_Range": f"bytes 10000-{SIZE - 1}/{SIZE + 1}"},
        {"Content_Range": f"bytes 10000-{SIZE - 1}/{SIZE}", "ETag": '"2"'},
        {"Content_Range": "everything"},
        {"Content_Range": f"bytes 10000-{'9' * 5000}/{'9' * 5000}"},
        {},
    ],
)
def test_a_part_that_does_not_fit_begins_anew(
    server: WebServer, fetched: Fetch, wrong: dict[str, str]
) -> None:
    def misfit(handler: Handler) -> None:
        server.answers["/a"] = a_file(ARCHIVE)
        status(206, ARCHIVE[10_000:], **wrong)(handler)

    def broken_off(handler: Handler) -> None:
        server.answers["/a"] = misfit
        a_file(ARCHIVE, cuts=[10_000])(handler)

    server.answers["/a"] = broken_off

    assert fetched() == ARCHIVE
    assert server.ranges() == [None, "bytes=10000-", None]


def test_a_part_that_is_not_there_any_more_begins_anew(server: WebServer, fetched: Fetch) -> None:
    def broken_off(handler: Handler) -> None:
        server.answers["/a"] = lambda handler: (
            status(416)(handler) if "Range" in handler.headers else a_file(ARCHIVE)(handler)
        )
        a_file(ARCHIVE, cuts=[10_000])(handler)

    server.answers["/a"] = broken_off

    assert fetched() == ARCHIVE


@pytest.mark.parametrize(
    ("code", "attempts"), [(404, 1), (401, 1), (410, 1), (204, 1), (500, 3), (503, 3), (429, 3)]
)
def test_another_status_is_told_and_tried_again_if_it_may_be_over_soon(
    server: WebServer, fetched: Fetch, code: int, attempts: int
) -> None:
    server.answers["/a"] = status(code, b"" if code == 204 else b"sorry")

    with pytest.raises(SourceUnreachableError, match=f"answers {code}"):
        fetched()
    assert len(server.asked) == attempts


def test_a_server_that_recovers_is_believed(server: WebServer, fetched: Fetch) -> None:
    def once(handler: Handler) -> None:
        server.answers["/a"] = a_file(ARCHIVE)
        status(503)(handler)

    server.answers["/a"] = once

    assert fetched() == ARCHIVE


def test_a_server_that_always_breaks_off_at_the_same_byte_is_left(
    server: WebServer, fetched: Fetch
) -> None:
    server.answers["/a"] = a_file(ARCHIVE, cuts=[10_000] * 99, ranges=False)

    with pytest.raises(SourceInterruptedError, match="broke off"):
        fetched()
    assert len(server.asked) == 3


def test_each_new_byte_is_worth_another_attempt(server: WebServer, fetched: Fetch) -> None:
    server.answers["/a"] = a_file(ARCHIVE, cuts=[1_000] * (SIZE // 1_000 + 1))

    assert fetched() == ARCHIVE
    assert len(server.asked) > 9


def test_a_page_is_no_archive_and_is_not_read_to_its_end(server: WebServer, fetched: Fetch) -> None:
    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not server.over.is_set():
            handler.wfile.write(b"<!DOCTYPE html><p>Sign in" * 1000)

    server.answers["/a"] = endless

    with pytest.raises(ArchiveInvalidError, match="begins with '<!DOCTYPE html>"):
        fetched()


@pytest.mark.parametrize("content", [b"", b"<html>", b"PK"])
def test_a_few_bytes_are_no_archive(server: WebServer, fetched: Fetch, content: bytes) -> None:
    server.answers["/a"] = status(200, content)

    with pytest.raises(ArchiveInvalidError, match="none of zip, tar"):
        fetched()


def test_an_archive_beyond_the_limit_is_not_begun(server: WebServer, fetched: Fetch) -> None:
    server.answers["/a"] = a_file(ARCHIVE)

    with pytest.raises(ArchiveTooLargeError, match="TUNESMITH_MAX_UPLOAD_BYTES"):
        fetched(max_upload_bytes=SIZE - 1)


def test_an_archive_without_end_ends_at_the_limit(server: WebServer, fetched: Fetch) -> None:
    """No length is announced, and bytes come as long as anybody reads."""

    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not server.over.is_set():
            handler.wfile.write(ARCHIVE)

    server.answers["/a"] = endless

    with pytest.raises(ArchiveTooLargeError):
        fetched(max_upload_bytes=3 * SIZE)


def test_a_length_that_lies_counts_for_nothing(server: WebServer, fetched: Fetch) -> None:
    """It announces less than the limit and sends more; what is announced is all that is read."""

    def lying(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "20000")
        handler.end_headers()
        handler.wfile.write(ARCHIVE * 2)

    server.answers["/a"] = lying

    assert fetched(max_upload_bytes=SIZE) == ARCHIVE[:20000]


def test_without_room_on_the_disk_nothing_is_begun(
    server: WebServer, fetched: Fetch, tmp_path: Path
) -> None:
    server.answers["/a"] = a_file(ARCHIVE)

    with pytest.raises(DiskFullError):
        fetched(min_free_bytes=shutil.disk_usage(tmp_path).total)


def test_a_server_that_stops_in_the_middle_is_left(server: WebServer, fetched: Fetch) -> None:
    def stalling(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(SIZE))
        handler.end_headers()
        handler.wfile.write(ARCHIVE[:1000])
        server.over.wait()

    server.answers["/a"] = stalling

    with pytest.raises(SourceTimeoutError, match=r"sent nothing for 0\.2 s"):
        fetched(idle_s=0.2)


def test_a_redirect_away_from_what_is_allowed_ends_it(server: WebServer, fetched: Fetch) -> None:
    server.answers["/a"] = redirect("http://169.254.169.254/latest/meta-data")

    with pytest.raises(SourceForbiddenError):
        fetched()
    assert len(server.asked) == 1


# --- attempts -------------------------------------------------------------------------------


def test_the_next_attempt_takes_over_what_a_dead_one_left(
    server: WebServer, fetched: Fetch, tmp_path: Path
) -> None:
    server.answers["/a"] = a_file(ARCHIVE, cuts=[10_000, 0, 0, 0])
    with pytest.raises(SourceInterruptedError):
        fetched(fence=1)

    assert fetched(fence=2) == ARCHIVE
    assert server.ranges()[-1] == "bytes=10000-"
    assert sorted(each.name for each in (tmp_path / "dataset").iterdir()) == [
        ".archive-2.json",
        ".archive-2.partial",
    ]


def test_what_has_come_whole_is_not_fetched_again(server: WebServer, fetched: Fetch) -> None:
    server.answers["/a"] = a_file(ARCHIVE)
    fetched(fence=1)

    assert fetched(fence=2) == ARCHIVE
    assert len(server.asked) == 1


def test_an_attempt_that_only_seemed_dead_keeps_its_file(
    server: WebServer, fetched: Fetch, tmp_path: Path
) -> None:
    frozen = a_partial(tmp_path, 1)
    frozen.begin(mark='"1"', total_bytes=SIZE)
    frozen.write(ARCHIVE[:10_000])
    server.answers["/a"] = a_file(ARCHIVE)

    assert fetched(fence=2) == ARCHIVE
    assert server.ranges() == [None]
    frozen.write(b"more")
    frozen.discard()
    assert (tmp_path / "dataset" / ".archive-2.partial").read_bytes() == ARCHIVE


def test_bytes_whose_version_nobody_knows_are_begun_anew(
    server: WebServer, fetched: Fetch, tmp_path: Path
) -> None:
    """The process died between the file and the record of it."""
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / ".archive-1.partial").write_bytes(b"whatever")
    server.answers["/a"] = a_file(ARCHIVE)

    assert fetched(fence=2) == ARCHIVE
    assert server.ranges() == [None]
