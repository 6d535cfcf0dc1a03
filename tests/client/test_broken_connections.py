"""Connections that break, and servers that are no Tunesmith."""

import base64
import hashlib
import json
import socket
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.web_server import Answer, Handler, WebServer, a_file, status
from tunesmith_client import (
    BrokenFileError,
    Client,
    LimitExceededError,
    ServiceError,
    UnexpectedAnswerError,
    UnreachableError,
)

STREAM = "/v1/jobs/job_1/stream"
FILE = "/v1/models/mdl_1/download"


def in_turn(*answers: Answer) -> Answer:
    """One answer after the other, the last one from then on."""
    left = list(answers)

    def answer(handler: Handler) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(handler)

    return answer


def breaking_off(handler: Handler) -> None:
    """The connection ends without an answer."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def a_problem(code: int, kind: str, **headers: str) -> Answer:
    return status(code, json.dumps({"code": kind, "title": kind, "detail": ""}).encode(), **headers)


def a_stream(events: Iterable[tuple[int, str]]) -> Answer:
    """These events, behind a comment and the pause, and then the end of the connection."""
    text = ": hello\n\nretry: 3000\n\n"
    for seq, kind in events:
        body = {"job_id": "job_1", "seq": seq, "type": kind, "at": "2026-03-01T12:00:00Z"}
        text += f"id: {seq}\nevent: {kind}\ndata: {json.dumps(body | {'data': {}})}\n\n"
    return status(200, text.encode(), Content_Type="text/event-stream")


def test_a_stream_that_breaks_goes_on_behind_the_last_event(
    told: Client, server: WebServer
) -> None:
    server.answers[STREAM] = in_turn(
        breaking_off,
        a_stream([(1, "job.queued"), (2, "job.started")]),
        a_problem(503, "unavailable"),
        a_stream([(3, "job.progress"), (4, "job.succeeded")]),
    )
    reasons: list[str] = []

    seen = [event.seq for event in told.jobs.events("job_1", on_break=reasons.append)]

    assert seen == [1, 2, 3, 4]
    assert [headers["Last-Event-ID"] for _, headers in server.asked] == ["0", "0", "2", "2"]
    assert len(reasons) == 3


def test_a_stream_that_was_read_before_has_nothing_more(told: Client, server: WebServer) -> None:
    server.answers[STREAM] = status(204)

    assert list(told.jobs.events("job_1", after=7)) == []


def test_a_service_that_stays_away_is_unreachable(told: Client, server: WebServer) -> None:
    server.answers[STREAM] = breaking_off

    with pytest.raises(UnreachableError, match=r"http://127.0.0.1:\d+ cannot be reached"):
        list(told.jobs.events("job_1", patience_s=0))


def test_a_request_is_sent_again_with_the_same_key(told: Client, server: WebServer) -> None:
    server.answers["/v1/lr-finds"] = in_turn(
        breaking_off, a_problem(409, "idempotency_in_progress"), status(200, b'{"id": "x"}')
    )

    assert told.post("/v1/lr-finds", {}) == {"id": "x"}
    keys = [headers["Idempotency-Key"] for _, headers in server.asked]
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_what_will_not_be_over_soon_is_not_asked_again(told: Client, server: WebServer) -> None:
    server.answers["/v1/jobs"] = a_problem(503, "no_workers")
    server.answers["/v1/models"] = a_problem(429, "rate_limited", Retry_After="60")

    with pytest.raises(ServiceError):
        told.get("/v1/jobs")
    with pytest.raises(LimitExceededError) as refused:
        told.get("/v1/models")

    assert refused.value.retry_after_s == 60
    assert server.paths() == ["/v1/jobs", "/v1/models"]


def test_a_server_that_is_no_tunesmith_is_told_as_such(told: Client, server: WebServer) -> None:
    server.answers["/v1/jobs/job_1"] = in_turn(
        status(200, b"<html>", Content_Type="text/html"), status(200, b"{}")
    )

    with pytest.raises(UnexpectedAnswerError, match="text/html"):
        told.jobs.get("job_1")
    with pytest.raises(UnexpectedAnswerError, match="no Job of this version"):
        told.jobs.get("job_1")


def test_a_download_goes_on_where_it_broke_off(
    told: Client, server: WebServer, tmp_path: Path
) -> None:
    content = bytes(range(256)) * 40
    # the first answer breaks off, the second only tells that the file is still the same
    server.answers[FILE] = a_file(content, cuts=[4000, 10_240, 10_240])

    file = told.models.download("mdl_1", tmp_path / "model")

    assert file.read_bytes() == content
    assert server.ranges() == [None, None, "bytes=4000-"]
    assert list(tmp_path.iterdir()) == [file]


def test_a_download_begins_anew_when_the_file_has_changed(
    told: Client, server: WebServer, tmp_path: Path
) -> None:
    old, new = b"old" * 2000, b"new" * 2000
    server.answers[FILE] = in_turn(a_file(old, tag='"1"', cuts=[1000]), a_file(new, tag='"2"'))

    assert told.models.download("mdl_1", tmp_path / "model").read_bytes() == new


def test_bytes_with_another_digest_are_not_kept(
    told: Client, server: WebServer, tmp_path: Path
) -> None:
    digest = base64.b64encode(hashlib.sha256(b"meant").digest()).decode()
    server.answers[FILE] = status(200, b"other", ETag='"1"', Repr_Digest=f"sha-256=:{digest}:")

    with pytest.raises(BrokenFileError, match="nothing was kept"):
        told.models.download("mdl_1", tmp_path / "model")

    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_yet_to_be_made_is_waited_for(
    told: Client, server: WebServer, tmp_path: Path
) -> None:
    server.answers[FILE] = in_turn(status(202, b"{}"), status(200, b"onnx"))

    assert told.models.download("mdl_1", tmp_path / "model").read_bytes() == b"onnx"
    assert server.asked[0][1]["Prefer"] == "wait=60"
