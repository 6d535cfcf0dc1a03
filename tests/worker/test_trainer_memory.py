"""How trainers keep memory: glibc is told before they begin, by their environment."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from worker.app import TRAINER_ENVIRONMENT

_TAKE_AND_GIVE_BACK = """
import json, re, resource
from pathlib import Path

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

held = b"1" * (64 << 20)
rollup = Path("/proc/self/smaps_rollup").read_text()
del held
before = faults()
for _ in range(10):
    b"1" * (64 << 20)
large = int(re.search(r"AnonHugePages: +(\\d+)", rollup)[1])
print(json.dumps({"large_kib": large, "faults": faults() - before}))
"""
_SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_NEW_ENOUGH = (2, 35)


def _told(**environment: str) -> dict[str, int]:
    told = subprocess.run(
        [sys.executable, "-c", _TAKE_AND_GIVE_BACK],
        env={**os.environ, **environment},  # noqa: TID251 - what the child would have anyway
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, int] = json.loads(told.stdout)
    return found


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


_name, _number = platform.libc_ver()
is_glibc = pytest.mark.skipif(
    _name != "glibc" or _version(_number) < _NEW_ENOUGH, reason="glibc 2.35 or newer is needed"
)


@is_glibc
def test_memory_that_was_given_back_is_not_faulted_in_again() -> None:
    kept, usual = _told(**TRAINER_ENVIRONMENT), _told()

    assert kept["faults"] < 1000 < usual["faults"]


@is_glibc
@pytest.mark.skipif(
    not _SETTING.exists() or "[never]" in _SETTING.read_text(), reason="no large pages here"
)
def test_what_is_kept_lies_in_large_pages() -> None:
    assert _told(**TRAINER_ENVIRONMENT)["large_kib"] >= 32 << 10
