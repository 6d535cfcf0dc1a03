"""What trainers are forked from: it has loaded what they need, and nothing that a fork breaks."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import store
from jobs.database import Database
from jobs.job import JobState, JobType
from tests.worker.conftest import fine_tune_spec, submit, wait_for
from worker.app import preloaded
from worker.items import Item, write_items
from worker.supervisor import Supervisor

_BEGIN_AS_A_CHILD = """
import importlib, json, runpy, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
before = set(sys.modules)
runpy.run_module("worker.app", run_name="__mp_main__")
print(json.dumps(sorted(set(sys.modules) - before)))
"""

_HEAVY = {"alembic", "celery", "kombu", "psycopg", "pyarrow", "redis", "sqlalchemy", "torch"}

_BEGIN_AS_A_TRAINER = """
import json, sys
from pathlib import Path
import worker.template, worker.runners.fine_tune
before = set(sys.modules)
from jobs.database import Database
from jobs.queue import Doorbell
from worker.items import read_items
Database("sqlite://").close()
Doorbell("redis+socket:///nobody.sock").close()
read_items(Path(sys.argv[1]))
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_a_trainer_that_begins_loads_nothing_heavy_any_more(tmp_path: Path) -> None:
    file = tmp_path / "items.parquet"
    write_items(file, [Item(item_id="itm_1", path="red_1.jpg", label="red", usable=True)])

    told = subprocess.run(
        [sys.executable, "-c", _BEGIN_AS_A_TRAINER, str(file)],
        capture_output=True,
        text=True,
        check=True,
    )

    loaded = {name.split(".")[0] for name in json.loads(told.stdout)}
    assert loaded & _HEAVY == set()


@pytest.mark.parametrize("queues", [["train"], ["prepare"], ["train", "prepare", "predict"]])
def test_a_child_finds_the_modules_of_its_program_loaded(queues: list[str]) -> None:
    told = subprocess.run(
        [sys.executable, "-c", _BEGIN_AS_A_CHILD, *preloaded(queues)],
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(told.stdout) == []


@pytest.mark.parametrize("name", ["worker.template", "worker.runners.dataset_import"])
def test_the_template_of_imports_has_no_tensor_library(name: str) -> None:
    code = f"import sys, {name}; assert not {{'torch', 'torchvision'}} & sys.modules.keys()"

    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_job_is_claimed_before_the_template_can_fork(
    database: Database, work: Callable[[str], Supervisor], dataset_id: str
) -> None:
    job = submit(database, JobType.FINE_TUNE, fine_tune_spec(dataset_id), dataset_id)
    template = _template_pid()

    # as long as it imports, the template does not answer
    os.kill(template, signal.SIGSTOP)
    try:
        work("train")
        with pytest.raises(AssertionError, match=r"JobState\.QUEUED"):
            wait_for(database, job.id, lambda job: job.state != JobState.QUEUED, within_s=1)
    finally:
        os.kill(template, signal.SIGCONT)
    ended = wait_for(database, job.id, lambda job: job.is_terminal)

    assert ended.state == JobState.SUCCEEDED, ended.error
    assert ended.attempt == 1


@pytest.mark.slow
def test_a_template_that_is_killed_while_it_forks_costs_an_attempt_and_no_job(
    database: Database, work: Callable[[str], Supervisor], dataset_id: str
) -> None:
    # the template has begun to fork for this worker
    supervisor = work("train")
    supervisor.work()
    job = submit(database, JobType.FINE_TUNE, fine_tune_spec(dataset_id, epochs=1), dataset_id)
    template = _template_pid()
    os.kill(template, signal.SIGSTOP)
    working = threading.Thread(target=supervisor.work)
    working.start()
    wait_for(database, job.id, lambda now: now.attempt == 1)
    os.kill(template, signal.SIGKILL)
    working.join()
    waiting = store.get(database, job.id)
    supervisor.work()
    ended = store.get(database, job.id)

    assert (waiting.state, waiting.lost) == (JobState.QUEUED, 1)
    assert ended.state == JobState.SUCCEEDED, ended.error
    assert ended.attempt == 2


def _template_pid() -> int:
    (pid,) = (
        int(child)
        for thread in Path("/proc/self/task").iterdir()
        for child in (thread / "children").read_text().split()
        if b"multiprocessing.forkserver" in Path(f"/proc/{child}/cmdline").read_bytes()
    )
    return pid
