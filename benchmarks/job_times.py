"""How long a job took, from its POST to its last event, by the service's own events."""

import time
from dataclasses import dataclass
from itertools import pairwise

from job_events import ended

from tunesmith_client import Client, Json


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseTime:
    """One phase of a job; ``images`` passed through it, None where that says nothing."""

    phase: str
    seconds: float
    images: int | None

    @property
    def images_per_s(self) -> float | None:
        """Throughput; None without images or time."""
        return self.images / self.seconds if self.images and self.seconds else None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTime:
    """One job from its POST to its last event, in seconds; ``phases`` are in order."""

    name: str
    job_id: str
    post_to_answer_s: float
    post_to_running_s: float
    total_s: float
    phases: list[PhaseTime]

    def phase(self, name: str) -> PhaseTime:
        """The phase of this name; all its parts together."""
        return next(each for each in self.phases if each.phase == name)


def timed(client: Client, name: str, path: str, body: Json, images: dict[str, int]) -> JobTime:
    """The job has been submitted, has succeeded, and its events say how long what took.

    Args:
        client: of the running stack.
        name: what the job is called in the table.
        path: where it is posted.
        body: what is posted.
        images: photos that pass through a phase; those trained on are counted by the job.

    Raises:
        RuntimeError: the job did not succeed.
    """
    posted_s = time.time()
    created = client.post(path, body)
    answered_s = time.time()
    job_id = created.get("job_id") or created["id"]
    events = ended(client, job_id)
    job = client.get(f"/v1/jobs/{job_id}")
    if job["state"] != "succeeded":
        raise RuntimeError(f"{name} is {job['state']}: {job['error']}")
    marks = [(at_s, data["phase"]) for kind, at_s, data in events if kind == "job.phase_changed"]
    _, end_s, _ = events[-1]
    spent: dict[str, float] = {}
    for (begin_s, phase), (until_s, _) in pairwise([*marks, (end_s, "")]):
        spent[phase] = spent.get(phase, 0.0) + until_s - begin_s
    if "batch_size" in body and job["progress"].get("step"):
        trained = job["progress"]["step"] * body["batch_size"]
        images = {"sweeping": trained, "unfrozen": trained} | images
    return JobTime(
        name=name,
        job_id=job_id,
        post_to_answer_s=answered_s - posted_s,
        post_to_running_s=marks[0][0] - posted_s,
        total_s=end_s - posted_s,
        phases=[PhaseTime(phase=p, seconds=s, images=images.get(p)) for p, s in spent.items()],
    )
