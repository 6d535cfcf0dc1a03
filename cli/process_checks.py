"""Checks of what runs and what it runs on: the stack, Redis, workers, devices."""

import importlib.util
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import redis

from cli.findings import Finding, State
from cli.installation import Installation
from jobs import presence, store
from jobs.database import Database
from jobs.devices import nvidia_devices
from jobs.presence import Worker
from jobs.queue import LOOK_TASKS, redis_client
from jobs.settings import Settings

_IMPORTS_WITHIN_S = 180.0
_KEY_KEPT_S = 10


def stack_findings(known: Installation) -> Iterator[Finding]:
    """Whether the stack of a data folder runs."""
    if known.is_down:
        yield Finding(
            name="stack",
            found=f"does not run on {known.data_dir}",
            remedy=f"`tunesmith up --data-dir {known.data_dir}` starts it",
        )
    elif known.data_dir is not None:
        yield Finding(name="stack", found=f"runs on {known.data_dir} (process {known.up_pid})")


def redis_finding(known: Installation) -> Finding:
    """Whether Redis keeps what it is given, for a moment."""
    if known.is_down:
        return Finding(name="redis", found="comes and goes with the stack")
    if not known.has_redis:
        return _no_redis("its socket is not there")
    client = redis_client(known.settings.redis_url)
    key, value = f"tunesmith:doctor:{secrets.token_hex(8)}", secrets.token_bytes(8)
    began_s = time.perf_counter()
    try:
        client.set(key, value, ex=_KEY_KEPT_S)
        is_same = client.get(key) == value
        client.delete(key)
    except redis.RedisError as problem:
        return _no_redis(str(problem))
    finally:
        client.close()
    took_ms = (time.perf_counter() - began_s) * 1000
    if not is_same:
        return _no_redis("it forgets at once what it is given")
    return Finding(name="redis", found=f"gives back what it gets, in {took_ms:.1f} ms")


def _no_redis(found: str) -> Finding:
    return Finding(
        name="redis",
        state=State.FAILED,
        found=f"does not answer: {found}",
        remedy="see that it runs and TUNESMITH_REDIS_URL names it; until then jobs begin seconds "
        "later, and nothing is lost",
    )


def worker_findings(known: Installation, database: Database) -> Iterator[Finding]:
    """Which workers were heard of lately, queue by queue, and who waits where there is none."""
    present, waiting = presence.present(database), store.queue_counts(database)
    for queue in sorted(LOOK_TASKS):
        there = [worker for worker in present if worker.queue == queue]
        jobs = sum(waiting.get(queue, {}).values())
        yield _workers(known, queue, there, jobs)


def _workers(known: Installation, queue: str, there: list[Worker], jobs: int) -> Finding:
    name = f"worker {queue}"
    unfinished = f"{jobs} job{'' if jobs == 1 else 's'} not finished"
    if there:
        names = ", ".join(f"{worker.id} ({worker.device})" for worker in there)
        return Finding(name=name, found=f"{names}; {unfinished}")
    if known.is_down:
        return Finding(name=name, found=f"comes and goes with the stack; {unfinished}")
    return Finding(
        name=name,
        state=State.WARNING,
        found=f"none was heard of in the last {presence.GONE_AFTER_MS // 1000} s; {unfinished}",
        remedy=f"start one: `tunesmith worker --queue {queue}`",
    )


def device_finding(settings: Settings) -> Finding:
    """What trainings would compute on here, asked of the tensor library in its own process."""
    if importlib.util.find_spec("torch") is None:
        return _device(
            "PyTorch is not installed here",
            State.WARNING,
            "train elsewhere, or install it",
        )
    asked = [sys.executable, "-m", "worker.found_devices"]
    try:
        answer = subprocess.run(
            asked, capture_output=True, text=True, check=True, timeout=_IMPORTS_WITHIN_S
        )
    except subprocess.CalledProcessError as problem:
        last = (problem.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return _device(f"PyTorch cannot be used: {last}", State.FAILED, "install it again")
    except subprocess.TimeoutExpired:
        slow = f"PyTorch was not ready within {_IMPORTS_WITHIN_S:g} s"
        return _device(slow, State.WARNING, "look at what keeps the machine busy")
    return judged_devices(settings, json.loads(answer.stdout), drivers=nvidia_devices())


def judged_devices(settings: Settings, found: dict[str, Any], *, drivers: int) -> Finding:
    """What the library's answer means for the wish; ``drivers`` is how many GPUs the driver has."""
    gpus, version = found["gpus"], f"PyTorch {found['version']}"
    broken = [f"{gpu['name']}: {gpu['error']}" for gpu in gpus if gpu["error"] is not None]
    if broken:
        return _device(
            f"{version} cannot compute on {'; '.join(broken)}",
            State.FAILED,
            "install a PyTorch that was built for it, or set TUNESMITH_DEVICE=cpu",
        )
    if _wished(settings) >= len(gpus):
        listed = f" and TUNESMITH_DEVICES {settings.devices}" if settings.devices else ""
        return _device(
            f"TUNESMITH_DEVICE is {settings.device}{listed}, and {version} sees {len(gpus)} GPUs",
            State.FAILED,
            "set it to auto or cpu, or install the driver and a PyTorch with CUDA",
        )
    if drivers > 0 and not gpus and settings.device == "auto":
        return _device(
            f"the driver lists {drivers} GPUs and {version} sees none: trainings use the CPU",
            State.WARNING,
            "install a PyTorch with CUDA for this driver",
        )
    names = ", ".join(gpu["name"] for gpu in gpus) or f"the CPU, {found['threads']} threads"
    return _device(f"{names if settings.device != 'cpu' else 'the CPU'}; {version}")


def _wished(settings: Settings) -> int:
    """The highest number of a GPU that is wished for; below 0 where none is."""
    if not settings.device.startswith("cuda"):
        return -1
    return max(settings.device_numbers, default=int(settings.device.partition(":")[2] or 0))


def _device(found: str, state: State = State.OK, remedy: str = "") -> Finding:
    return Finding(name="device", state=state, found=found, remedy=remedy)
