"""One finished job as one file: a ``.tar.gz`` of what it wrote, that can be restored elsewhere.

Its names are those of the artifact store. The last member, ``SHA256SUMS``, has a line for each of
the others, as ``sha256sum`` writes them.
"""

import hashlib
import io
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from jobs import records, store
from jobs.artifacts import Artifacts, published, sha256_of
from jobs.database import Database
from jobs.errors import ArchiveInvalidError, ResultNotReadyError

SUMS = "SHA256SUMS"
_ROOTS = {"jobs": "job_", "models": "mdl_", "datasets": "ds_"}
_UNREADABLE = (tarfile.TarError, EOFError, zlib.error, UnicodeDecodeError)


class _Hashed(io.RawIOBase):
    """A stream that knows the SHA-256 of what was read from it."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self._stream = stream
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        chunk = self._stream.read(size)
        self.digest.update(chunk)
        return chunk


def export(database: Database, artifacts: Artifacts, job_id: str, target: Path) -> None:
    """The archive is whole under the target's name; nothing is held in memory but the record.

    Raises:
        NotFoundError: no job has this id.
        ResultNotReadyError: the job has not ended.
        ArchiveInvalidError: a model's file does not have its recorded SHA-256.
        OSError: a file cannot be read, or the target not written.
    """
    job = store.get(database, job_id)
    if not job.is_terminal:
        raise ResultNotReadyError(job_id, "archive before it ends", job.state)
    with database.read() as connection:
        record = records.read(connection, job_id) or {}
    digests = {each["path"]: each["digest"].removeprefix("sha256:") for each in record["models"]}
    sums: list[str] = []
    with published(target) as temporary, tarfile.open(temporary, "w:gz") as archive:
        for path in _files(artifacts, job_id, record):
            name = artifacts.relative(path)
            digest = _add_file(archive, artifacts.fetched(path), name)
            if digests.get(name, digest) != digest:
                raise ArchiveInvalidError(f"{name} does not have the SHA-256 that was recorded")
            sums.append(f"{digest}  {name}\n")
        content = records.encoded(record)
        name = artifacts.relative(artifacts.record_file(job_id))
        _add_bytes(archive, name, content)
        sums.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
        _add_bytes(archive, SUMS, "".join(sums).encode())


def unpack(archive: Path, artifacts: Artifacts) -> list[str]:
    """The archive's files are in the store, which keeps those that it had; its jobs' ids.

    Nothing is there unless every member has its recorded SHA-256.

    Raises:
        ArchiveInvalidError: it is none of ours, or damaged.
        OSError: it cannot be read, or the store not written.
    """
    artifacts.root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=artifacts.root) as folder:
        unpacked = Path(folder)
        try:
            _extract(archive, unpacked)
        except _UNREADABLE as problem:
            raise ArchiveInvalidError(f"{archive} cannot be read: {problem}") from problem
        names = _checked(archive, unpacked)
        for name in names:
            target = artifacts.absolute(name)
            if artifacts.store.size_bytes(target) is None:
                target.parent.mkdir(parents=True, exist_ok=True)
                (unpacked / name).rename(target)
                artifacts.store.keep([target])
    return sorted({PurePosixPath(name).parts[1] for name in names if name.startswith("jobs/")})


def _files(artifacts: Artifacts, job_id: str, record: dict[str, object]) -> Iterator[Path]:
    own = artifacts.record_file(job_id)
    yield from (file for file in _below(artifacts, artifacts.job_folder(job_id)) if file != own)
    for each in _rows(record, "models"):
        file = artifacts.model_file(each["id"])
        if artifacts.store.size_bytes(file) is not None:
            yield file
    for each in _rows(record, "datasets"):
        yield from _below(artifacts, artifacts.dataset_folder(each["id"]))


def _below(artifacts: Artifacts, folder: Path) -> Iterator[Path]:
    for path in artifacts.store.found(folder, "**/*"):
        if not path.is_symlink() and path.suffix != ".tmp":
            yield path


def _rows(record: dict[str, object], name: str) -> list[dict[str, str]]:
    rows = record[name]
    return rows if isinstance(rows, list) else []


def _add_file(archive: tarfile.TarFile, path: Path, name: str) -> str:
    with path.open("rb") as stream:
        hashed = _Hashed(stream)
        archive.addfile(_anonymous(archive.gettarinfo(arcname=name, fileobj=stream)), hashed)
    return hashed.digest.hexdigest()


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    # hard links become files of their own, and nobody learns who ran the service
    member.type = tarfile.REGTYPE
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def _extract(archive: Path, folder: Path) -> None:
    with tarfile.open(archive, "r:gz") as members:
        for member in members:
            stream = members.extractfile(member)
            if stream is None or not _is_ours(member.name):
                raise ArchiveInvalidError(f"{archive} has a member {member.name!r}, unlike ours")
            target = folder / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                shutil.copyfileobj(stream, file)


def _is_ours(name: str) -> bool:
    parts = PurePosixPath(name).parts
    if name == SUMS:
        return True
    is_plain = str(PurePosixPath(name)) == name and ".." not in parts and len(parts) > 1
    return is_plain and parts[0] in _ROOTS and parts[1].startswith(_ROOTS[parts[0]])


def _checked(archive: Path, folder: Path) -> list[str]:
    """The names of all members, the records last, so that no record names what is not there."""
    sums = folder / SUMS
    if not sums.is_file():
        raise ArchiveInvalidError(f"{archive} has no {SUMS}: it is incomplete, or none of ours")
    lines = [line.partition("  ") for line in sums.read_text().splitlines()]
    recorded = {name: digest for digest, _, name in lines}
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    del found[SUMS]
    if found.keys() != recorded.keys():
        raise ArchiveInvalidError(f"{archive} has other members than its {SUMS} says")
    for name, path in found.items():
        if sha256_of(path) != recorded[name]:
            raise ArchiveInvalidError(f"{name} in {archive} is damaged: its SHA-256 is another")
    return sorted(found, key=lambda name: (name.endswith("/job.json"), name))
