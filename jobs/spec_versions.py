"""Specs of earlier versions, read as this version writes them.

`jobs.spec.SPEC_VERSION` goes up when an old spec would no longer mean the same: a field that was
renamed or taken away, a default that changed. The step from the version before is then a line of
`UPGRADERS`. Fields that are only added, with a default, need none.
"""

from collections.abc import Callable, Mapping
from typing import Any

from jobs.job import Failure, JobType
from jobs.spec import SPEC_VERSION

Spec = Mapping[str, Any]
Upgrader = Callable[[JobType, Spec], Spec]

UPGRADERS: Mapping[int, Upgrader] = {}
"""From this version to the next; the type is the job's. Each returns a new spec."""


def upgraded(
    job_type: JobType,
    spec: Spec,
    version: int,
    *,
    to: int = SPEC_VERSION,
    upgraders: Mapping[int, Upgrader] = UPGRADERS,
) -> Spec:
    """The spec as version ``to`` would have stored it; one of a newer version is left as it is."""
    for step in range(version, to):
        spec = upgraders[step](job_type, spec)
    return spec


def refusal(version: int) -> Failure | None:
    """Why a job with a spec of this version cannot run here; None if it can."""
    if version <= SPEC_VERSION:
        return None
    return Failure(
        code="spec_too_new",
        message=f"the job's spec has the version {version}; this worker knows those up to "
        f"{SPEC_VERSION}: a newer version of the service has accepted the job",
        hint="bring the worker to the version of the API, then submit the job again",
    )
