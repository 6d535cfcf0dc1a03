from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from jobs import curves, leases, store, verbs
from jobs.artifacts import Artifacts
from jobs.curves import ProgressUpdate
from jobs.database import Database
from jobs.job import JobState, JobType
from tests.api.conftest import Act
from tests.api.given import get, problem, queued, ready_dataset, started
from tests.jobs.given import FAILURE, job_in, set_columns

FIELDS = {
    *("id", "object", "type", "state", "phase", "name", "is_terminal", "allowed_actions"),
    *(
        "dataset_id",
        "depends_on",
        "parent_id",
        "retry_of",
        "attempt",
        "priority",
        "progress",
        "queue",
        "eta",
        "version",
    ),
    *("hyperparameters", "resolved", "latest", "best", "model_id", "stop_reason", "error"),
    *("metadata", "created_at", "started_at", "finished_at", "links"),
}


def test_a_job_has_the_documented_fields(client: TestClient, database: Database) -> None:
    job = queued(database, JobType.FINE_TUNE, ready_dataset(database))

    assert set(get(client, f"/v1/jobs/{job.id}")) == FIELDS


def test_an_unknown_job_is_named(client: TestClient) -> None:
    body = problem(client.get("/v1/jobs/job_nobody"), 404, "not_found")

    assert "'job_nobody'" in body["detail"]


def test_the_end_is_estimated_from_the_pace_so_far(client: TestClient, database: Database) -> None:
    job = started(database, JobType.FINE_TUNE, ready_dataset(database))
    curves.record_progress(
        database, job.id, job.fence, ProgressUpdate(progress={"fraction": 0.25}, latest={})
    )
    set_columns(database, job.id, started_ms=store.get(database, job.id).created_ms - 10_000)

    shown = get(client, f"/v1/jobs/{job.id}")

    assert shown["progress"]["fraction"] == 0.25
    assert 30 <= shown["eta"]["seconds"] < 60
    assert shown["eta"]["low"] < shown["eta"]["seconds"] < shown["eta"]["high"]
    assert shown["queue"] is None


def test_a_failed_job_says_why_and_reading_it_succeeds(
    client: TestClient, database: Database
) -> None:
    job = started(database, JobType.FINE_TUNE, ready_dataset(database))
    leases.fail(database, job.id, job.fence, FAILURE)

    shown = get(client, f"/v1/jobs/{job.id}")

    assert (shown["state"], shown["is_terminal"]) == ("failed", True)
    assert shown["allowed_actions"] == ["retry"]
    assert shown["error"]["code"] == "loss_diverged"
    assert shown["error"]["phase"] == "frozen"


def test_an_unchanged_job_is_not_sent_again(client: TestClient, database: Database) -> None:
    job = queued(database, JobType.FINE_TUNE, ready_dataset(database))
    path = f"/v1/jobs/{job.id}"
    etag = client.get(path).headers["etag"]

    again = client.get(path, headers={"If-None-Match": etag})

    assert etag.startswith('W/"')
    assert (again.status_code, again.content) == (304, b"")


def test_an_event_and_an_edit_change_the_tag(client: TestClient, database: Database) -> None:
    job = queued(database, JobType.FINE_TUNE, ready_dataset(database))
    path = f"/v1/jobs/{job.id}"
    first = client.get(path).headers["etag"]

    client.patch(path, json={"name": "renamed"})
    second = client.get(path).headers["etag"]
    verbs.cancel(database, job.id)
    third = client.get(path).headers["etag"]

    assert len({first, second, third}) == 3


def test_waiting_ends_when_the_state_changes(
    client: TestClient, database: Database, once_waited_for: Callable[[Act], None]
) -> None:
    job = queued(database, JobType.FINE_TUNE, ready_dataset(database))
    once_waited_for(lambda: verbs.cancel(database, job.id))

    response = client.get(f"/v1/jobs/{job.id}", headers={"Prefer": "wait=20"})

    assert response.json()["state"] == "cancelled"
    assert response.headers["preference-applied"] == "wait=20"


def test_waiting_ends_when_the_time_is_over(client: TestClient, database: Database) -> None:
    job = queued(database, JobType.FINE_TUNE, ready_dataset(database))

    response = client.get(f"/v1/jobs/{job.id}", headers={"Prefer": "respond-async, wait=1"})

    assert response.json()["state"] == "queued"


def test_a_finished_job_is_not_waited_for(client: TestClient, database: Database) -> None:
    job = job_in(database, JobState.SUCCEEDED)

    response = client.get(f"/v1/jobs/{job.id}", headers={"Prefer": "wait=60"})

    assert response.json()["state"] == "succeeded"


def test_jobs_are_listed_newest_first_and_filtered(client: TestClient, database: Database) -> None:
    dataset = ready_dataset(database)
    find = queued(database, JobType.LR_FIND, dataset, {"metadata": {"owner": "ana"}})
    tune = queued(database, JobType.FINE_TUNE, dataset)
    verbs.cancel(database, tune.id)

    def ids(query: str) -> list[str]:
        return [job["id"] for job in get(client, f"/v1/jobs?{query}")["data"]]

    assert ids("") == [tune.id, find.id, dataset.job_id]
    assert ids("sort=created_at") == [dataset.job_id, find.id, tune.id]
    assert ids("type=lr_find") == [find.id]
    assert ids("state=cancelled") == [tune.id]
    assert ids("dataset_id=ds_other") == []
    assert ids("metadata[owner]=ana") == [find.id]
    assert ids("metadata[owner]=bob") == []


def test_jobs_are_filtered_by_the_time_they_were_made(
    client: TestClient, database: Database
) -> None:
    queued(database, JobType.FINE_TUNE, ready_dataset(database))
    now = datetime.now(UTC)

    earlier = client.get(
        "/v1/jobs", params={"created_after": (now - timedelta(hours=1)).isoformat()}
    )
    later = client.get("/v1/jobs", params={"created_after": (now + timedelta(hours=1)).isoformat()})

    assert (len(earlier.json()["data"]), len(later.json()["data"])) == (2, 0)


def test_a_job_is_edited_once_for_one_version(client: TestClient, database: Database) -> None:
    job = queued(database, JobType.FINE_TUNE, ready_dataset(database))
    path, tag = f"/v1/jobs/{job.id}", {"If-Match": '"v1"'}

    first = client.patch(path, json={"priority": 9, "metadata": {"a": "b"}}, headers=tag)
    second = client.patch(path, json={"priority": 1}, headers=tag)

    assert (first.json()["priority"], first.json()["version"]) == (9, 2)
    assert first.json()["metadata"] == {"a": "b"}
    problem(second, 412, "precondition_failed")


@pytest.mark.parametrize(
    ("edit", "pointer"),
    [
        ({}, ""),
        ({"priority": None}, "/priority"),
        ({"priority": 10}, "/priority"),
        ({"state": "succeeded"}, "/state"),
    ],
)
def test_an_edit_that_means_nothing_is_refused(
    client: TestClient, database: Database, edit: dict[str, Any], pointer: str
) -> None:
    job = queued(database, JobType.FINE_TUNE, ready_dataset(database))

    response = client.patch(f"/v1/jobs/{job.id}", json=edit)

    problem(response, 422, "validation_failed", pointer)


def test_a_name_can_be_taken_away(client: TestClient, database: Database) -> None:
    job = queued(database, JobType.FINE_TUNE, ready_dataset(database), {"name": "first"})

    assert client.patch(f"/v1/jobs/{job.id}", json={"name": None}).json()["name"] is None


def test_cancelling_twice_gives_the_same_answer(client: TestClient, database: Database) -> None:
    job = queued(database, JobType.FINE_TUNE, ready_dataset(database))

    first = client.post(f"/v1/jobs/{job.id}/cancel")
    second = client.post(f"/v1/jobs/{job.id}/cancel")

    assert first.json()["state"] == "cancelled"
    assert (second.status_code, second.content) == (200, first.content)


def test_a_job_is_paused_resumed_and_stopped(client: TestClient, database: Database) -> None:
    job = queued(database, JobType.FINE_TUNE, ready_dataset(database))
    path = f"/v1/jobs/{job.id}"

    assert client.post(f"{path}/pause").json()["state"] == "paused"
    assert client.post(f"{path}/resume").json()["state"] == "queued"
    problem(client.post(f"{path}/stop"), 409, "invalid_state_transition")


def test_a_running_job_is_stopped(client: TestClient, database: Database) -> None:
    job = started(database, JobType.FINE_TUNE, ready_dataset(database))

    assert client.post(f"/v1/jobs/{job.id}/stop").status_code == 200

    assert store.get(database, job.id).stop_requested


def test_an_impossible_move_names_state_and_possible_ones(
    client: TestClient, database: Database
) -> None:
    job = job_in(database, JobState.SUCCEEDED)

    body = problem(client.post(f"/v1/jobs/{job.id}/cancel"), 409, "invalid_state_transition")

    assert (body["state"], body["allowed_actions"]) == ("succeeded", ["retry"])


def test_a_verb_is_answered_once_for_one_key(client: TestClient, database: Database) -> None:
    job = queued(database, JobType.FINE_TUNE, ready_dataset(database))
    path, key = f"/v1/jobs/{job.id}", {"Idempotency-Key": "k1"}
    first = client.post(f"{path}/pause", headers=key)
    client.post(f"{path}/resume")

    again = client.post(f"{path}/pause", headers=key)

    assert again.content == first.content
    assert again.headers["idempotency-replayed"] == "true"
    assert store.get(database, job.id).state == JobState.QUEUED


def test_only_a_finished_job_is_deleted(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    job = queued(database, JobType.FINE_TUNE, ready_dataset(database))
    folder = artifacts.attempt_folder(job.id, 1)
    folder.mkdir(parents=True)
    path = f"/v1/jobs/{job.id}"
    problem(client.delete(path), 409, "invalid_state_transition")

    client.post(f"{path}/cancel")
    response = client.delete(path)

    assert response.status_code == 204
    problem(client.get(path), 404, "not_found")
    assert not folder.exists()


def test_the_history_comes_page_by_page(client: TestClient, database: Database) -> None:
    job = queued(database, JobType.FINE_TUNE, ready_dataset(database))
    verbs.pause(database, job.id)
    verbs.resume(database, job.id)
    path = f"/v1/jobs/{job.id}/events?limit=2"

    first = get(client, path)
    second = get(client, f"{path}&after={first['next_cursor']}")

    assert [event["type"] for event in first["data"]] == ["job.queued", "job.paused"]
    assert [event["seq"] for event in second["data"]] == [3]
    assert not second["has_more"]


def test_the_log_is_that_of_the_latest_attempt(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    job = started(database, JobType.FINE_TUNE, ready_dataset(database))
    path = f"/v1/jobs/{job.id}/logs"
    problem(client.get(path), 409, "result_not_ready")
    folder = artifacts.attempt_folder(job.id, job.fence)
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text("first\nsecond\n")

    response = client.get(path)

    assert response.text == "first\nsecond\n"
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert client.get(f"{path}?max_bytes=7").text == "second\n"
    problem(client.get(f"{path}?limit=1"), 422, "validation_failed")


def test_the_lines_of_a_log_come_in_pages(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    job = started(database, JobType.FINE_TUNE, ready_dataset(database))
    folder = artifacts.attempt_folder(job.id, job.fence)
    folder.mkdir(parents=True)
    (folder / "log.txt").write_bytes(b"first\ns\xffcond\n" + b"x" * 20_000)
    client.headers["Accept"] = "application/json"
    path = f"/v1/jobs/{job.id}/logs"

    first = get(client, f"{path}?limit=1")
    rest = get(client, f"{path}?after={first['next_cursor']}")

    assert first["data"] == [{"object": "log_line", "offset": 0, "text": "first"}]
    assert [(line["offset"], line["text"][:7]) for line in rest["data"]] == [
        (6, "s\ufffdcond"),
        (13, "xxxxxxx"),
        (13 + 16_384, "xxxxxxx"),
    ]
    assert not rest["has_more"]
    assert get(client, f"{path}?after=6")["data"] == rest["data"][1:]
    for refused in ("max_bytes=7", "after=first"):
        problem(client.get(f"{path}?{refused}"), 422, "validation_failed")


@pytest.mark.parametrize(
    ("moment", "count"),
    [
        ("0001-01-01T00:00:00", 1),
        ("0001-01-01T00:00:00%2B23:59", 1),
        ("9999-12-31T23:59:59-23:59", 0),
    ],
)
def test_a_time_at_the_ends_of_the_calendar_is_a_time(
    client: TestClient, database: Database, moment: str, count: int
) -> None:
    ready_dataset(database)

    assert len(get(client, f"/v1/jobs?created_after={moment}")["data"]) == count


@pytest.mark.parametrize(
    "path", ["/v1/jobs/job_%00", "/v1/jobs?after=job_%00", "/v1/jobs?metadata[a]=%00"]
)
def test_an_address_with_a_character_that_no_database_keeps_is_refused(
    client: TestClient, path: str
) -> None:
    assert "U+0000" in problem(client.get(path), 422, "validation_failed")["detail"]
