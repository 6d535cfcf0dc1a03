import threading
from collections.abc import Callable, Iterator

import pytest
from httpx import Response
from sqlalchemy import delete
from starlette.testclient import TestClient

from api import sse
from jobs import leases, plots, store, tables, verbs
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import Failure, Job, JobState, JobType
from jobs.keys import Scope
from tests.api.given import (
    a_drawer,
    a_ledger,
    bearer,
    draw,
    evaluated,
    field,
    get,
    problem,
    queued,
    ready_dataset,
    started,
    succeeded,
    take_step,
)
from tests.api.test_auth import given_to
from tests.api.test_submission import CURVE

Then = Callable[[Callable[[str], object]], None]

AT_ONCE = {"Prefer": "wait=0"}


@pytest.fixture
def job(database: Database, artifacts: Artifacts) -> Job:
    """A fine-tune with a ledger of three photos, and a worker that could draw it."""
    job = evaluated(database, artifacts, ready_dataset(database))
    a_drawer(database)
    return job


@pytest.fixture
def moving(database: Database) -> Job:
    """A fine-tune that has taken a step, and a worker that could draw it."""
    job = started(database, JobType.FINE_TUNE, ready_dataset(database))
    a_drawer(database)
    take_step(database, job, 0)
    return job


def plot_of(job: Job, file: str = "confusion.svg") -> str:
    """The address of a plot."""
    return f"/v1/jobs/{job.id}/plots/{file}"


def location(response: Response) -> str:
    """The job that draws what is not there yet."""
    assert response.status_code == 202, response.text
    found: str = response.headers["location"]
    assert response.json()["links"]["self"] == found
    return found


@pytest.fixture
def then(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Then]:
    """Does something with the id of the first drawing as soon as there is one."""
    monkeypatch.setattr(sse, "LOOK_S", 0.05)  # nobody rings
    is_over = threading.Event()
    threads: list[threading.Thread] = []

    def wait(do: Callable[[str], object]) -> None:
        drawings = store.JobFilter(type=JobType.EXPORT)
        while not is_over.wait(0.02):
            if found := store.list_jobs(database, drawings, after=None, limit=1):
                do(found[0].id)
                return

    def start(do: Callable[[str], object]) -> None:
        threads.append(threading.Thread(target=wait, args=(do,)))
        threads[-1].start()

    yield start
    is_over.set()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    ("file_format", "media_type"),
    [
        ("svg", "image/svg+xml"),
        ("png", "image/png"),
        ("json", "application/vnd.vegalite.v6+json"),
    ],
)
def test_a_drawn_plot_is_served_in_each_format(
    client: TestClient,
    database: Database,
    artifacts: Artifacts,
    job: Job,
    file_format: str,
    media_type: str,
) -> None:
    client.get(plot_of(job), headers=AT_ONCE)
    draw(database, artifacts)

    response = client.get(plot_of(job, f"confusion.{file_format}"))

    assert (response.status_code, response.text) == (200, file_format)
    assert response.headers["content-type"].partition(";")[0] == media_type
    assert response.headers["cache-control"] == "private, no-cache"
    named = f'inline; filename="{job.id}-confusion.{file_format}"'
    assert response.headers["content-disposition"] == named


def test_nothing_in_a_picture_may_run_or_load(
    client: TestClient, database: Database, artifacts: Artifacts, job: Job
) -> None:
    client.get(plot_of(job), headers=AT_ONCE)
    draw(database, artifacts)

    headers = client.get(plot_of(job)).headers

    assert headers["x-content-type-options"] == "nosniff"
    policy = headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "sandbox"} <= set(policy)


def test_a_plot_that_is_still_the_same_is_not_sent_again(
    client: TestClient, database: Database, artifacts: Artifacts, job: Job
) -> None:
    client.get(plot_of(job), headers=AT_ONCE)
    spec = draw(database, artifacts)
    etag = client.get(plot_of(job)).headers["etag"]

    again = client.get(plot_of(job), headers={"If-None-Match": etag})

    assert etag == f'W/"{spec.content}"'
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == etag


def test_a_plot_that_is_not_drawn_yet_is_a_job(
    client: TestClient, database: Database, job: Job
) -> None:
    response = client.get(plot_of(job), headers=AT_ONCE)

    drawing = get(client, location(response))
    assert response.headers["retry-after"] == "2"
    assert (drawing["type"], drawing["state"]) == ("export", "queued")
    assert drawing["hyperparameters"]["job"] == job.id


def test_a_request_waits_for_its_drawing(
    client: TestClient,
    database: Database,
    artifacts: Artifacts,
    job: Job,
    then: Then,
) -> None:
    then(lambda _: draw(database, artifacts))

    response = client.get(plot_of(job))

    assert (response.status_code, response.text) == (200, "svg")


def test_two_requests_are_one_drawing(client: TestClient, job: Job) -> None:
    first, second = (
        client.get(plot_of(job, file), headers=AT_ONCE)
        for file in ("confusion.svg", "confusion.png")
    )

    assert location(first) == location(second)
    assert len(get(client, "/v1/jobs?type=export")["data"]) == 1


def test_a_plot_is_drawn_anew_when_its_job_has_another_name(
    client: TestClient, database: Database, artifacts: Artifacts, job: Job
) -> None:
    client.get(plot_of(job), headers=AT_ONCE)
    draw(database, artifacts)
    client.patch(f"/v1/jobs/{job.id}", json={"name": "cats"})

    assert client.get(plot_of(job), headers=AT_ONCE).status_code == 202


def test_a_running_job_is_drawn_anew_when_it_has_moved_on(
    client: TestClient, database: Database, artifacts: Artifacts, moving: Job
) -> None:
    path = plot_of(moving, "loss-curve.svg")
    client.get(path, headers=AT_ONCE)
    draw(database, artifacts)
    before = client.get(path, headers=AT_ONCE)
    take_step(database, moving, 1)

    first = location(client.get(path, headers=AT_ONCE))
    take_step(database, moving, 2)
    second = location(client.get(path, headers=AT_ONCE))
    draw(database, artifacts)

    assert before.status_code == 200
    assert first == second
    location(client.get(path, headers=AT_ONCE))
    # drawings that were replaced are no longer listed
    assert len(get(client, "/v1/jobs?type=export")["data"]) == 1


@pytest.mark.parametrize("kind", [JobType.LR_FIND, JobType.FINE_TUNE, JobType.EVALUATION])
def test_a_jobs_plots_are_listed_with_an_address_of_each_format(
    client: TestClient, database: Database, kind: JobType
) -> None:
    job = queued(database, kind, ready_dataset(database))

    listed = get(client, get(client, f"/v1/jobs/{job.id}")["links"]["plots"])

    assert tuple(plot["name"] for plot in listed["data"]) == plots.PLOTS_OF[kind]
    first = listed["data"][0]
    assert first["links"] == {
        each: plot_of(job, f"{first['name']}.{each}") for each in ("svg", "png", "json")
    }


def test_a_jobs_plots_come_in_pages(client: TestClient, database: Database) -> None:
    job = queued(database, JobType.FINE_TUNE, ready_dataset(database))
    own = f"/v1/jobs/{job.id}/plots"

    first = client.get(own, params={"limit": 3})
    rest = get(client, first.links["next"]["url"])

    listed = [plot["name"] for plot in first.json()["data"] + rest["data"]]
    assert (first.json()["has_more"], rest["has_more"]) == (True, False)
    assert tuple(listed) == plots.PLOTS_OF[JobType.FINE_TUNE]
    problem(client.get(own, params={"after": "nonsense"}), 422, "validation_failed")


def test_a_job_without_plots_lists_none(client: TestClient, database: Database) -> None:
    imported = ready_dataset(database).job_id

    assert get(client, f"/v1/jobs/{imported}/plots")["data"] == []
    assert "plots" not in get(client, f"/v1/jobs/{imported}")["links"]


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("lr-curve.svg", "loss-curve, lr-schedule, confusion, top-losses, calibration"),
        ("nonsense.svg", "loss-curve, lr-schedule, confusion, top-losses, calibration"),
        ("confusion.pdf", "svg, png, json, not as 'pdf'"),
    ],
)
def test_what_is_not_drawn_names_what_is(
    client: TestClient, job: Job, file: str, named: str
) -> None:
    body = problem(client.get(plot_of(job, file)), 404, "not_found")

    assert named in body["detail"]


def test_a_plot_of_a_job_without_any_is_not_found(client: TestClient, database: Database) -> None:
    job = store.get(database, ready_dataset(database).job_id)

    body = problem(client.get(plot_of(job)), 404, "not_found")

    assert "is a dataset_import, which has no plots" in body["detail"]


@pytest.mark.parametrize("file", ["loss-curve.svg", "lr-schedule.png", "confusion.svg"])
def test_before_the_first_result_there_is_nothing_to_draw(
    client: TestClient, database: Database, file: str
) -> None:
    job = started(database, JobType.FINE_TUNE, ready_dataset(database))

    problem(client.get(plot_of(job, file)), 409, "result_not_ready")


def test_a_rate_curve_is_drawn_when_the_sweep_has_succeeded(
    client: TestClient, database: Database
) -> None:
    dataset = ready_dataset(database)
    a_drawer(database)
    ended = succeeded(database, JobType.LR_FIND, dataset, {"lr_curve": CURVE})
    sweeping = started(database, JobType.LR_FIND, dataset)

    location(client.get(plot_of(ended, "lr-curve.svg"), headers=AT_ONCE))
    problem(client.get(plot_of(sweeping, "lr-curve.svg")), 409, "result_not_ready")


def test_without_a_worker_nothing_is_queued(
    client: TestClient, database: Database, artifacts: Artifacts
) -> None:
    job = evaluated(database, artifacts, ready_dataset(database))

    response = client.get(plot_of(job))

    assert "queue 'prepare'" in problem(response, 503, "no_workers")["detail"]
    assert response.headers["retry-after"] == "10"
    assert get(client, "/v1/jobs?type=export")["data"] == []


def fail(database: Database, code: str) -> None:
    """The next plot that was asked for cannot be drawn."""
    job = leases.claim_next(database, "prepare", "drawer", lease_ms=60_000)
    assert job is not None
    leases.fail(database, job.id, job.fence, Failure(code=code, message="no ink", hint="buy some"))


@pytest.mark.parametrize(
    ("code", "status", "shown"),
    [
        ("not_found", 404, "not_found"),
        ("disk_full", 507, "disk_full"),
        ("out_of_memory", 500, "internal"),
    ],
)
def test_a_drawing_that_fails_tells_why(
    client: TestClient,
    database: Database,
    job: Job,
    then: Then,
    *,
    code: str,
    status: int,
    shown: str,
) -> None:
    then(lambda _: fail(database, code))

    body = problem(client.get(plot_of(job)), status, shown)

    assert body["detail"] == "the plot could not be drawn: no ink"
    assert (body["error"]["code"], body["error"]["hint"]) == (code, "buy some")


def test_a_drawing_that_is_cancelled_can_be_asked_for_again(
    client: TestClient, database: Database, job: Job, then: Then
) -> None:
    then(lambda drawing_id: verbs.cancel(database, drawing_id))

    body = problem(client.get(plot_of(job)), 409, "result_not_ready")

    assert "ask again" in body["detail"]
    assert body["job_id"] not in location(client.get(plot_of(job), headers=AT_ONCE))


def test_a_drawing_that_was_replaced_meanwhile_can_be_asked_for_again(
    client: TestClient, database: Database, job: Job, then: Then
) -> None:
    def replace(drawing_id: str) -> None:
        with database.write() as connection:
            connection.execute(delete(tables.jobs).where(tables.jobs.c.id == drawing_id))

    then(replace)

    response = client.get(plot_of(job))

    assert "ask again" in problem(response, 503, "unavailable")["detail"]
    assert response.headers["retry-after"] == "1"


@pytest.fixture
def of_all(database: Database, artifacts: Artifacts) -> Job:
    """An evaluation of all parts whose photos are valid and train ones."""
    dataset = ready_dataset(database)
    a_drawer(database)
    file = artifacts.root / "all.parquet"
    a_ledger(dataset, file, {"split": ["valid", "valid", "train"]})
    entry = {"path": artifacts.relative(file), "digest": "l1"}
    result = {"classes": ["cat", "dog"], "samples": {"all": entry}}
    return succeeded(database, JobType.EVALUATION, dataset, result)


@pytest.mark.parametrize(
    ("query", "split"), [("", "all"), ("?split=all", "all"), ("?split=train", "train")]
)
def test_a_part_can_be_chosen(client: TestClient, of_all: Job, query: str, split: str) -> None:
    response = client.get(plot_of(of_all) + query, headers=AT_ONCE)

    assert get(client, location(response))["hyperparameters"]["split"] == split


def test_a_part_without_photos_is_not_found(client: TestClient, of_all: Job) -> None:
    body = problem(client.get(plot_of(of_all) + "?split=test"), 404, "not_found")

    assert "no samples of the part 'test'" in body["detail"]


def test_a_part_without_a_ledger_names_those_with_one(client: TestClient, job: Job) -> None:
    body = problem(client.get(plot_of(job) + "?split=train"), 422, "validation_failed")

    assert field(body, "/query/split")["allowed"] == ["valid"]


@pytest.mark.parametrize("query", ["loss-curve.svg?split=valid", "confusion.svg?split=half"])
def test_a_part_that_makes_no_sense_is_refused(client: TestClient, job: Job, query: str) -> None:
    problem(client.get(plot_of(job, query)), 422, "validation_failed", "/query/split")


def test_plots_are_deleted_with_their_job(
    client: TestClient, database: Database, artifacts: Artifacts, job: Job
) -> None:
    client.get(plot_of(job), headers=AT_ONCE)
    file = plots.plot_file(artifacts, draw(database, artifacts), "svg")
    assert file.is_file()

    client.delete(f"/v1/jobs/{job.id}")

    assert not file.exists()
    problem(client.get(plot_of(job)), 404, "not_found")


def test_a_job_of_another_owner_has_no_plots(
    locked: TestClient, database: Database, job: Job
) -> None:
    given_to(database, "bo")
    ana, bo = (bearer(database, Scope.READ, owner=owner) for owner in ("ana", "bo"))

    for path in (plot_of(job), f"/v1/jobs/{job.id}/plots"):
        problem(locked.get(path, headers=ana), 404, "not_found")
    theirs = locked.get(plot_of(job), headers={**bo, **AT_ONCE})

    assert get(locked, location(theirs), **bo)["state"] == JobState.QUEUED
    problem(locked.get(location(theirs), headers=ana), 404, "not_found")
