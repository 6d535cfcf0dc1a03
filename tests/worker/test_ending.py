"""The end of a worker process: what is done, and that it comes, whatever Celery does."""

import subprocess
import sys

import pytest

_A_PROCESS = """
import sys, threading
from worker import ending

ending.CELERY_ENDS_WITHIN_S = 0.5

class Told:
    def drain(self): print("drained", flush=True)
    def close(self): print("closed", flush=True)

end = ending.Ending([Told(), Told()])
{celery}
"""


@pytest.mark.parametrize(
    ("celery", "told"),
    [
        ("end.begin(); threading.Event().wait(60); print('late')", "drained drained closed closed"),
        ("end.begin(); end.after_celery(); print('last')", "drained drained closed closed last"),
        ("end.after_celery(); print('last')", "closed closed last"),
    ],
    ids=["it waits for ever", "it ends", "it could not begin"],
)
def test_workers_are_closed_once_and_the_process_ends(celery: str, told: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _A_PROCESS.format(celery=celery)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )

    words = [line for line in ended.stdout.splitlines() if "ended_without_celery" not in line]
    assert " ".join(words) == told
