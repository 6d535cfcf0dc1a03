"""Files from the service: under another name first, resumed where they broke off, checked."""

import base64
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tunesmith_client.errors import BrokenFileError
from tunesmith_client.transport import Transport

Advance = Callable[[int, int | None], None]
"""Is told the bytes so far, and all bytes where that is known."""

_HOLD_S = 60
"""As long as the service holds an answer back at most."""
_SHA256 = "sha-256=:"
_STRONG = '"'
"""What a strong ETag begins with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What is downloaded: a path with its query and headers."""

    path: str
    query: Mapping[str, Any]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fetched:
    part: Path
    repr_digest: str


def download(
    transport: Transport, source: Source, target: Path, *, advance: Advance | None = None
) -> Path:
    """The file lies at ``target``, whole; until then it has another name in the same folder.

    A file with a strong ETag that broke off, in this process or an earlier one, goes on where it
    was. A file that the service is yet to make (202) is waited for.

    Raises:
        ProblemError: the service refused it.
        UnreachableError: the connection broke too often.
        BrokenFileError: the bytes have another digest than ``Repr-Digest``.
    """
    fetched = None
    while fetched is None:
        fetched = transport.repeated(lambda: _fetch(transport, source, target, advance))
    _check(fetched.part, fetched.repr_digest)
    fetched.part.replace(target)
    return target


def _part(target: Path, etag: str) -> Path:
    """What the file is called until it is whole; the next try finds it only if it is the same."""
    is_strong = etag.startswith(_STRONG)
    mark = hashlib.sha256(etag.encode()).hexdigest()[:12] if is_strong else str(os.getpid())
    return target.with_name(f".{target.name}.{mark}.part")


def _fetch(
    transport: Transport, source: Source, target: Path, advance: Advance | None
) -> _Fetched | None:
    """All bytes, in a part; None while the service is yet to make the file."""
    asked = {**source.headers, "Accept-Encoding": "identity", "Prefer": f"wait={_HOLD_S}"}
    with transport.streamed(
        "GET", source.path, query=source.query, headers=asked, follow_redirects=True
    ) as response:
        if response.status_code == httpx.codes.ACCEPTED:
            return None
        # an object store that the service leads to has marks of its own
        told = response.history[0].headers if response.history else response.headers
        etag = told.get("ETag", "")
        part = _part(target, etag)
        fetched = _Fetched(part=part, repr_digest=told.get("Repr-Digest", ""))
        done = part.stat().st_size if etag.startswith(_STRONG) and part.exists() else 0
        if not done:
            _write(response, part, advance)
            return fetched
        if str(done) == response.headers.get("Content-Length"):
            return fetched
    resumed = {**asked, "Range": f"bytes={done}-", "If-Range": etag}
    with transport.streamed("GET", source.path, query=source.query, headers=resumed) as response:
        _write(response, part, advance)
    return fetched


def _write(response: httpx.Response, part: Path, advance: Advance | None) -> None:
    goes_on = response.status_code == httpx.codes.PARTIAL_CONTENT
    done = part.stat().st_size if goes_on else 0
    length = response.headers.get("Content-Length")
    all_bytes = None if length is None else done + int(length)
    with part.open("ab" if goes_on else "wb") as file:
        # as they come: what a chunk of a fixed size had gathered would be lost with the connection
        for chunk in response.iter_bytes():
            file.write(chunk)
            done += len(chunk)
            if advance is not None:
                advance(done, all_bytes)


def _check(part: Path, repr_digest: str) -> None:
    if not repr_digest.startswith(_SHA256):
        return
    wanted = base64.b64decode(repr_digest.removeprefix(_SHA256).partition(":")[0])
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").digest()
    if found != wanted:
        part.unlink()
        raise BrokenFileError(
            f"what was downloaded has the SHA-256 {found.hex()}, the service's file has "
            f"{wanted.hex()}; nothing was kept, download it again"
        )
