"""Metrics of requests, queues, jobs and webhooks; and the two files that read them."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml  # type: ignore[import-untyped]  # it has no types of its own
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from jobs import leases, presence, webhooks
from jobs.database import Database
from jobs.job import JobState, JobType
from jobs.keys import Scope
from jobs.outbox import ENDS
from jobs.settings import Settings
from jobs.sweeper import Sweeper
from jobs.webhook_sender import WebhookSender
from tests.api.given import admin, bearer, problem
from tests.jobs import given
from tests.pages import ROOT
from worker.device_metrics import _parsed

Sample = tuple[str, tuple[tuple[str, str], ...]]


def samples(client: TestClient) -> dict[Sample, float]:
    """Every sample by its name and its labels."""
    text = client.get("/metrics").text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: dict[Sample, float], name: str, **labels: str) -> float:
    """One of them; 0 when nothing was counted yet."""
    return found.get((name, tuple(sorted(labels.items()))), 0.0)


def test_requests_are_counted_by_template_never_by_path(client: TestClient) -> None:
    before = samples(client)

    for path in ("/v1/jobs/job_a", "/v1/jobs/job_b", "/nonsense/1", "/nonsense/2"):
        client.get(path)
    client.request("BREW", "/v1/jobs")

    after = samples(client)
    of_jobs = {"method": "GET", "route": "/v1/jobs/{job_id}"}
    for name, labels, more in (
        ("tunesmith_http_requests_total", {**of_jobs, "status": "404"}, 2),
        ("tunesmith_http_request_duration_seconds_count", of_jobs, 2),
        ("tunesmith_http_requests_total", {"method": "GET", "route": "none", "status": "404"}, 2),
    ):
        assert value(after, name, **labels) - value(before, name, **labels) == more
    shown = str(list(after))
    assert "job_a" not in shown
    assert "nonsense" not in shown
    assert "BREW" not in shown


def test_queues_and_jobs_are_those_of_the_database(client: TestClient, database: Database) -> None:
    given.a_job(database)
    given.a_job(database)
    given.running(database)
    given.set_columns(database, given.a_job(database, JobType.LR_FIND).id, created_ms=0)

    found = samples(client)

    assert value(found, "tunesmith_queue_depth", queue="train") == 2
    assert value(found, "tunesmith_queue_depth", queue="prepare") == 0
    assert value(found, "tunesmith_queue_oldest_seconds", queue="train") > 1e9
    assert value(found, "tunesmith_jobs", type="fine_tune", state="running") == 1
    assert value(found, "tunesmith_workers", queue="train") == 0


def test_the_speed_is_that_of_the_jobs_that_train_now(
    client: TestClient, database: Database
) -> None:
    for speed in (100.0, 50.5):
        given.a_job(database)
        job = given.running(database)
        given.set_columns(database, job.id, progress={"samples_per_second": speed})
    given.set_columns(database, job.id, state=JobState.SUCCEEDED.value)

    speed = value(samples(client), "tunesmith_training_images_per_second", type="fine_tune")

    assert speed == 100.0


def test_sweeps_and_webhooks_are_counted(
    client: TestClient, database: Database, settings: Settings
) -> None:
    sender = WebhookSender(database, settings)
    before = samples(client)
    given.a_job(database)
    job = given.running(database)
    sweeper = Sweeper(database, interval_s=600, lease_s=30, max_lost=9)
    sweeper.sweep()
    given.set_columns(database, job.id, lease_until_ms=1)
    with database.write() as connection:
        webhooks.create(connection, owner="local", url="http://127.0.0.1/", events=ENDS, most=1)
    sweeper.sweep()
    leases.fail(database, job.id, given.running(database).fence, given.FAILURE)
    while value(samples(client), "tunesmith_webhook_attempts_total", outcome="failed") == value(
        before, "tunesmith_webhook_attempts_total", outcome="failed"
    ):
        sender.send_next()

    after = samples(client)

    assert value(after, "tunesmith_sweeps_total") - value(before, "tunesmith_sweeps_total") >= 2
    name = "tunesmith_expired_leases_total"
    assert value(after, name) - value(before, name) == 1
    assert value(after, "tunesmith_webhook_deliveries", state="pending") == 1


def test_where_keys_are_needed_metrics_need_an_admin_key(
    locked: TestClient, database: Database
) -> None:
    for path in ("/metrics", "/metrics/targets"):
        problem(locked.get(path), 401, "unauthenticated")
        problem(locked.get(path, headers=bearer(database, Scope.READ)), 403, "forbidden")
        assert locked.get(path, headers=admin(database)).is_success

    answer = locked.get("/metrics", headers=admin(database))

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")


def test_devices_are_what_the_driver_tells() -> None:
    used, total = _parsed("0, 1024, 2048\n1, 0, 2048\n")

    assert [(each.labels["device"], each.value) for each in used.samples] == [
        ("0", 2**30),
        ("1", 0),
    ]
    assert {each.value for each in total.samples} == {2**31}


def queries(panel: dict[str, Any]) -> list[str]:
    """The expressions of a dashboard's panel."""
    return [target["expr"] for target in panel["targets"]]


@pytest.fixture
def names(client: TestClient) -> set[str]:
    """Every name that a metric or one of its samples can have."""
    text = client.get("/metrics").text + _devices()
    families = list(text_string_to_metric_families(text))
    found = {sample.name for family in families for sample in family.samples}
    counters = {f"{each.name}_total" for each in families if each.type == "counter"}
    gauges = {each.name for each in families if each.type == "gauge"}
    histograms = {
        f"{each.name}_{part}"
        for each in families
        if each.type == "histogram"
        for part in ("bucket", "count", "sum")
    }
    return found | counters | gauges | histograms


def _devices() -> str:
    return "".join(f"# TYPE {each.name} gauge\n{each.name} 0\n" for each in _parsed("0, 1, 2"))


def test_every_query_of_the_dashboard_names_metrics_that_exist(names: set[str]) -> None:
    dashboard = json.loads((ROOT / "deploy/grafana/tunesmith.json").read_text())
    asked = [query for panel in dashboard["panels"] for query in queries(panel)]

    assert len(asked) >= 10
    named = {name for query in asked for name in re.findall(r"\btunesmith_\w+", query)}
    assert named - names == set()


def test_what_prometheus_scrapes_is_served(client: TestClient) -> None:
    config = yaml.safe_load(Path(ROOT / "deploy/prometheus.yml").read_text())

    jobs = {each["job_name"]: each for each in config["scrape_configs"]}
    assert set(jobs) == {"tunesmith-api", "tunesmith-workers"}
    assert client.get(jobs["tunesmith-api"]["metrics_path"]).status_code == 200
    (discovery,) = jobs["tunesmith-workers"]["http_sd_configs"]
    assert client.get(urlsplit(discovery["url"]).path).json() == []


def test_prometheus_is_told_where_every_worker_shows_its_metrics(
    client: TestClient, database: Database
) -> None:
    places = {"t1": "a:9103", "t2": "a:9106", "t3": None, "p1": "b:9102"}
    for name, place in places.items():
        queue = "train" if name.startswith("t") else "prepare"
        presence.announce(
            database,
            worker_id=name,
            queue=queue,
            device="cpu",
            hostname="a",
            pid=1,
            metrics=place,
        )

    assert client.get("/metrics/targets").json() == [
        {"targets": ["b:9102"], "labels": {"queue": "prepare"}},
        {"targets": ["a:9103", "a:9106"], "labels": {"queue": "train"}},
    ]
    listed = client.get("/v1/queue").json()["workers"]
    assert {each["id"]: each["metrics"] for each in listed} == places
