"""How fast jobs begin, and how fast they go on after a kill -9."""

import os
import signal
import time
from collections.abc import Callable
from statistics import median

from job_events import Moment, ended, events_behind
from stack_memory import descendants, parents

from cli.stack import Stack
from tunesmith_client import Client, Json

_WITHIN_S = 300.0
_PAUSE_S = 1.0
_LOOK_S = 0.1
_SMALL: Json = {
    "architecture": "squeezenet1_1",
    "weights": "none",
    "presize": 128,
    "size": 64,
    "batch_size": 16,
    "freeze_epochs": 0,
    "discriminative": "off",
}


def post_to_running(client: Client, dataset: Json, *, times: int) -> Json:
    """Seconds from a POST to its answer, the claim and ``running``, on a worker that waits."""
    body = {"dataset": dataset["id"], "epochs": 1, **_SMALL}
    ended(client, client.post("/v1/fine-tunes", body)["id"])
    answered, claimed, running = [], [], []
    for _ in range(times):
        time.sleep(_PAUSE_S)
        posted_s = time.time()
        job_id = client.post("/v1/fine-tunes", body)["id"]
        answered.append(time.time() - posted_s)
        moments = {kind: at_s for kind, at_s, _ in reversed(ended(client, job_id))}
        if "job.succeeded" not in moments:
            raise RuntimeError(client.get(f"/v1/jobs/{job_id}")["error"])
        claimed.append(moments["job.started"] - posted_s)
        running.append(moments["job.phase_changed"] - posted_s)
    named = {"answered": answered, "claimed": claimed, "running": running}
    return {name: _spread(seconds) for name, seconds in named.items()}


def kill_to_resumed(stack: Stack, client: Client, dataset: Json, *, times: int) -> Json:
    """Seconds from a kill -9 of the trainer, and of the worker, to the next attempt's moments."""
    return {
        victim: _killed(stack, client, dataset, victim, times) for victim in ("trainer", "worker")
    }


def _killed(stack: Stack, client: Client, dataset: Json, victim: str, times: int) -> Json:
    waits = [_killed_once(stack, client, dataset, victim) for _ in range(times)]
    return {
        "claimed": _spread([claimed_s for claimed_s, _ in waits]),
        "first_steps_told": _spread([step_s for _, step_s in waits]),
    }


def _killed_once(stack: Stack, client: Client, dataset: Json, victim: str) -> tuple[float, float]:
    """Seconds from the kill to the claim, and until the new attempt tells of its first steps."""
    body = {"dataset": dataset["id"], "epochs": 1000, **_SMALL}
    job_id = client.post("/v1/fine-tunes", body)["id"]
    # a checkpoint is there, so that the next attempt goes on and does not begin anew
    _until(stack, lambda: _first(events_behind(client, job_id), "job.checkpoint_saved") is not None)
    seen = len(events_behind(client, job_id))
    killed_s = time.time()
    os.kill(_pid_of(victim), signal.SIGKILL)

    def moments() -> tuple[float, float] | None:
        later = events_behind(client, job_id, seen)
        started = _first(later, "job.started")
        if started is None:
            return None
        stepped = _first(later[started:], "job.progress")
        return None if stepped is None else (later[started][1], later[started + stepped][1])

    _until(stack, lambda: moments() is not None)
    found = moments()
    assert found is not None  # noqa: S101  # what has happened stays so
    client.post(f"/v1/jobs/{job_id}/cancel", {})
    ended(client, job_id)
    return found[0] - killed_s, found[1] - killed_s


def _pid_of(victim: str) -> int:
    """The process of our stack's workers, or of the trainer that they watch.

    Raises:
        RuntimeError: there is none.
    """
    for pid, role in descendants(dict(parents())):
        if role == victim:
            return pid
    raise RuntimeError(f"no {victim} runs")


def _first(events: list[Moment], kind: str) -> int | None:
    """Place of the first event of a kind."""
    return next((place for place, event in enumerate(events) if event[0] == kind), None)


def _until(stack: Stack, is_so: Callable[[], bool]) -> None:
    until_s = time.monotonic() + _WITHIN_S
    while not is_so():
        if time.monotonic() > until_s:
            raise RuntimeError(f"after {_WITHIN_S:g} s it is still not so")
        # a killed worker is started again
        stack.tend()
        time.sleep(_LOOK_S)


def _spread(seconds: list[float]) -> Json:
    """Median, least and most, rounded to milliseconds."""
    return {
        "median_s": round(median(seconds), 3),
        "least_s": round(min(seconds), 3),
        "most_s": round(max(seconds), 3),
        "times": len(seconds),
    }
