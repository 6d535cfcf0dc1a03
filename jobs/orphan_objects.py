"""What lies in an object store and nothing refers to, as `jobs.orphans` is about the folder."""

import fnmatch
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePosixPath

from jobs.artifacts import Artifacts
from jobs.bucket import Bucket, StoredObject
from jobs.bucket_store import BucketStore
from jobs.database import Database
from jobs.job import FINAL_STATES
from jobs.orphans import Known, ask, is_of
from jobs.removals import Kind, Removal

_OF_RUNNING_JOBS = ("checkpoint-*", "losses-*.npy")
_CLOCKS_DIFFER_S = 60.0
"""The store's clock and ours."""
_PREFIXES = {"jobs": "job_", "datasets": "ds_", "models": "mdl_", "uploads": "upl_"}


@dataclass(frozen=True, slots=True)
class _Thing:
    """All objects of one job, dataset, model or upload; ``id`` is the name without suffixes."""

    kind: str
    id: str
    objects: tuple[StoredObject, ...]

    @property
    def written_s(self) -> float:
        """When the last of it was written."""
        return max(each.written_s for each in self.objects)


def orphan_objects(database: Database, artifacts: Artifacts, *, grace_s: float) -> list[Removal]:
    """Objects that nothing refers to, nor have been written for ``grace_s`` seconds.

    None where a folder keeps the artifacts. What is older than everything in the database stays.

    Raises:
        OSError: the store cannot be asked.
    """
    if not isinstance(artifacts.store, BucketStore):
        return []
    # the store is looked at before the database is asked: a row comes before its objects
    things = list(_things(artifacts.store.bucket))
    with database.read() as connection:
        known = ask(connection)
    before_s = time.time() - grace_s
    return [removal for thing in things for removal in _of(thing, known, before_s)]


def strange_names(database: Database, artifacts: Artifacts) -> list[str]:
    """Jobs, datasets and models in the object store that are unknown and older than the database.

    Raises:
        OSError: the store cannot be asked.
    """
    if not isinstance(artifacts.store, BucketStore):
        return []
    names = [
        (kind, PurePosixPath(name))
        for kind in ("jobs", "datasets", "models")
        for name in artifacts.store.names(artifacts.root / kind)
        if name.startswith(_PREFIXES[kind])
    ]
    with database.read() as connection:
        known = ask(connection)
    return [
        f"{kind}/{name}"
        for kind, name in names
        if not _is_known(kind, name.name.partition(".")[0], known)
        and not is_of(known.since_ms, name)
    ]


def _things(bucket: Bucket) -> Iterator[_Thing]:
    for kind, prefix in _PREFIXES.items():
        found = bucket.objects(f"{kind}/{prefix}")
        for name, objects in groupby(found, key=lambda each: each.key.split("/")[1]):
            yield _Thing(kind, name.partition(".")[0], tuple(objects))


def _of(thing: _Thing, known: Known, before_s: float) -> Iterator[Removal]:
    if not _is_known(thing.kind, thing.id, known):
        is_ours = is_of(known.since_ms, PurePosixPath(thing.id))
        if is_ours and thing.written_s < _latest_s(thing.kind, known, before_s):
            name = "/".join(thing.objects[0].key.split("/")[:2])
            yield _removal(name, thing.objects, f"no {_NOUNS[thing.kind]} has it")
    elif thing.kind == "jobs" and known.jobs[thing.id] in FINAL_STATES:
        for each in thing.objects:
            name = each.key.rpartition("/")[2]
            is_over = any(fnmatch.fnmatchcase(name, pattern) for pattern in _OF_RUNNING_JOBS)
            if is_over and each.written_s < before_s:
                yield _removal(each.key, (each,), "its job has ended")


def _is_known(kind: str, identifier: str, known: Known) -> bool:
    if kind == "models":
        return f"models/{identifier}.safetensors" in known.models
    ids = {"jobs": known.jobs, "datasets": known.datasets, "uploads": known.uploads}[kind]
    return identifier in ids


def _latest_s(kind: str, known: Known, before_s: float) -> float:
    """Before when it must have been written; a model's file comes before its row."""
    return min(before_s, known.held_since_s - _CLOCKS_DIFFER_S) if kind == "models" else before_s


def _removal(name: str, objects: tuple[StoredObject, ...], why: str) -> Removal:
    size_bytes = sum(each.size_bytes for each in objects)
    return Removal(kind=Kind.OBJECT, name=name, size_bytes=size_bytes, why=why)


_NOUNS = {"jobs": "job", "datasets": "dataset", "models": "model", "uploads": "upload"}
