"""What the import contracts cannot see: unlisted packages, and the process as it really starts."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from jobs.job import JobType
from jobs.queue import LOOK_TASKS
from jobs.settings import Settings
from worker.app import make_app
from worker.trainer import RUNNERS

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "torchvision", "PIL")


def test_every_package_is_under_the_import_contracts() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    on_disk = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}

    assert on_disk == set(contracts["root_packages"])


@pytest.mark.parametrize(
    "module", ["api.main", "cli.main", "worker.app", "jobs.store", "tunesmith_client"]
)
def test_a_process_that_does_not_train_never_loads_a_tensor_library(module: str) -> None:
    code = f"import sys, {module}; print(*(set(sys.modules) & set({HEAVY!r})))"

    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert loaded.stdout.split() == []


def test_every_kind_of_job_has_a_runner() -> None:
    assert set(RUNNERS) == set(JobType)


@pytest.mark.parametrize("queue", sorted(LOOK_TASKS))
def test_the_worker_registers_the_task_that_the_api_sends(queue: str, settings: Settings) -> None:
    app = make_app(settings, {queue: lambda: None})

    assert LOOK_TASKS[queue] in app.tasks
