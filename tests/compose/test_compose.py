"""What the container files promise, read from the files; nothing is built or started."""

import re
import runpy
import shlex
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it has no types of its own

from jobs import presence
from jobs.database import Database
from jobs.queue import LOOK_TASKS, make_celery
from jobs.settings import Settings

ROOT = Path(__file__).parents[2]
OWN = {"secrets", "migrate", "api", "worker-train", "worker-prepare"} | {"worker-predict"}
COMPOSE = (ROOT / "docker-compose.yml").read_text()
GPU_COMPOSE = (ROOT / "docker-compose.gpu.yml").read_text()
WATCHING_COMPOSE = (ROOT / "docker-compose.observability.yml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE)["services"]
GPU: dict[str, dict[str, Any]] = yaml.safe_load(GPU_COMPOSE)["services"]
WATCHING: dict[str, dict[str, Any]] = yaml.safe_load(WATCHING_COMPOSE)["services"]
WATCHERS = ("prometheus", "grafana", "flower")


@pytest.mark.parametrize("name", [*SERVICES, *WATCHERS])
def test_no_service_can_change_its_root_file_system_or_gain_a_privilege(name: str) -> None:
    service = (WATCHING | SERVICES)[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "cap_add" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_runs_as_root(name: str) -> None:
    if name in OWN:
        assert "user" not in SERVICES[name]
    else:
        assert SERVICES[name]["user"] in {"postgres", "redis"}


def test_both_images_run_as_the_uid_that_owns_the_volumes() -> None:
    assert DOCKERFILE.count("\nUSER 10001:10001\n") == 2


def test_only_the_api_is_published_and_on_loopback_alone() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert ports == {"api": ["127.0.0.1:${TUNESMITH_PORT:-8000}:8000"]}


def test_what_watches_is_published_on_loopback_alone() -> None:
    ports = [port for name in WATCHERS for port in WATCHING[name]["ports"]]
    assert len(ports) == len(WATCHERS)
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_prometheus_asks_the_api_where_workers_show_their_metrics() -> None:
    asked = yaml.safe_load((ROOT / "deploy/prometheus.compose.yml").read_text())
    api, workers = asked["scrape_configs"]
    assert api["static_configs"] == [{"targets": ["api:8000"]}]
    (discovery,) = workers["http_sd_configs"]
    assert discovery["url"] == "http://api:8000/metrics/targets"
    assert discovery["authorization"] == api["authorization"]


def test_each_worker_that_is_watched_shows_its_metrics_to_the_stack() -> None:
    watched = [WATCHING[f"worker-{queue}"] for queue in LOOK_TASKS] + [GPU["worker-gpu-0"]]
    for service in watched:
        assert int(service["environment"]["TUNESMITH_METRICS_PORT"]) > 0
        assert service["environment"]["TUNESMITH_METRICS_HOST"] == "0.0.0.0"  # noqa: S104


def test_flower_reads_the_queues_that_the_service_rings(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = runpy.run_path(str(ROOT / "deploy/flower/celeryconfig.py"))
    app = make_celery("redis://redis:6379/0")
    assert seen["broker_url"] == app.conf.broker_url
    ours = app.conf.broker_transport_options["global_keyprefix"]
    assert seen["broker_transport_options"] == {"global_keyprefix": ours}
    assert {each.name for each in seen["task_queues"]} == set(LOOK_TASKS)


def test_the_published_api_asks_for_keys() -> None:
    assert SERVICES["api"]["environment"]["TUNESMITH_AUTH"] == "keys"


def test_every_variable_of_the_containers_is_a_setting() -> None:
    settings = {f"TUNESMITH_{name.upper()}" for name in Settings.model_fields}
    given = {
        variable
        for service in (*SERVICES.values(), *GPU.values(), *WATCHING.values())
        for variable in service.get("environment", {})
        if not variable.startswith(("POSTGRES_", "AWS_", "GF_", "CELERY_", "OTEL_", "PYTHON"))
    }
    in_images = set(re.findall(r"\b(TUNESMITH_\w+)=", DOCKERFILE))
    exported = set(re.findall(r"export (TUNESMITH_\w+)=", str(SERVICES["migrate"]["command"])))
    assert exported == {"TUNESMITH_ADMIN_KEY_FILE"}
    assert given | in_images | exported <= settings


def test_the_example_environment_names_each_variable_with_its_default() -> None:
    asked = dict(
        re.findall(r"\$\{(TUNESMITH_\w+):-([^}]*)\}", COMPOSE + GPU_COMPOSE + WATCHING_COMPOSE)
    )
    lines = (ROOT / ".env.example").read_text()
    example = dict(re.findall(r"^(TUNESMITH_\w+)=(.*)$", lines, re.MULTILINE))
    assert example.keys() == asked.keys()
    # what has no value in the example stands for what is not given
    assert {name: text for name, text in example.items() if text} == {
        name: text for name, text in asked.items() if example[name]
    }


def test_the_images_carry_the_version_of_the_package() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    said = re.findall(r"TUNESMITH_VERSION:-([^}]*)}|ARG VERSION=(.*)", COMPOSE + DOCKERFILE)
    assert {first or second for first, second in said} == {version}


def test_a_worker_may_take_the_trainers_grace_and_half_a_minute_to_stop() -> None:
    grace_s = float(SERVICES["worker-train"]["stop_grace_period"].removesuffix("s"))
    assert grace_s >= Settings.model_fields["cancel_grace_s"].default + 30


def test_gpu_workers_take_the_place_of_the_cpu_worker() -> None:
    assert GPU["worker-train"] == {"profiles": ["cpu"]}
    extended = {"file": "docker-compose.yml", "service": "worker-train"}
    assert GPU["worker-gpu-0"]["extends"] == extended


def test_a_worker_is_healthy_while_the_database_has_heard_of_its_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_DATABASE_URL", f"sqlite:///{tmp_path}/tunesmith.db")
    _, _, *arguments = SERVICES["worker-train"]["healthcheck"]["test"]
    database = Database(f"sqlite:///{tmp_path}/tunesmith.db")
    database.migrate()
    assert _python(*arguments).returncode == 1
    presence.announce(
        database,
        worker_id="train@here:1",
        queue="train",
        device="cpu",
        hostname=socket.gethostname(),
        pid=1,
    )
    database.close()
    assert _python(*arguments).returncode == 0


@pytest.mark.parametrize("name", ["api", "worker", "build"])
def test_what_an_image_installs_is_what_is_tested(name: str) -> None:
    tested = set(_pins(ROOT / "requirements/dev.txt"))
    installed = set(_pins(ROOT / f"requirements/{name}.txt"))
    strangers = {pin for pin in installed - tested if not pin.startswith("uv==")}
    assert installed
    assert not strangers


def test_the_api_image_has_no_tensor_library() -> None:
    names = {pin.split("==")[0] for pin in _pins(ROOT / "requirements/api.txt")}
    assert names.isdisjoint({"torch", "torchvision", "pillow", "pyarrow", "safetensors", "triton"})


@pytest.mark.parametrize("name", ["api", "worker"])
def test_an_image_has_what_traces_need(name: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    installed = {pin.split("==")[0] for pin in _pins(ROOT / f"requirements/{name}.txt")}
    wanted = {line.split(">=")[0] for line in extras["optional-dependencies"]["otel"]}
    assert wanted
    assert wanted <= installed


@pytest.mark.parametrize("name", ["api", "worker"])
def test_an_image_has_what_the_doorbell_needs_to_speak_to_redis(name: str) -> None:
    """Celery reaches Redis through an extra of kombu, which plain `celery` does not ask for."""
    asked = [line for line in requires("kombu") or [] if re.search(r"extra == .redis.", line)]
    installed = {pin.split("==")[0] for pin in _pins(ROOT / f"requirements/{name}.txt")}
    assert asked
    assert {re.split(r"[^\w-]", line)[0] for line in asked} <= installed


@pytest.mark.parametrize("name", ["api", "worker", "build", "dev"])
def test_every_package_is_pinned_by_hash_and_from_no_named_registry(name: str) -> None:
    text = (ROOT / f"requirements/{name}.txt").read_text()
    assert "://" not in text
    assert all("--hash=sha256:" in requirement for requirement in _requirements(text))


def test_the_smoke_test_is_sound_shell() -> None:
    checked = subprocess.run(
        ["bash", "-n", str(ROOT / "tests/compose/smoke.sh")],  # noqa: S607 - found on the PATH
        check=False,
    )
    assert checked.returncode == 0


def _python(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, check=False)


def _requirements(text: str) -> Iterator[str]:
    yield from (line for line in text.replace("\\\n", " ").splitlines() if line.strip())


def _pins(path: Path) -> Iterator[str]:
    """Each ``name==version`` of a requirements file; on which systems it counts is left out."""
    for requirement in _requirements(path.read_text()):
        yield shlex.split(requirement)[0]
