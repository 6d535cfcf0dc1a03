"""Files of the artifact store as answers: whole, in part, or not at all when they are known.

Where an object store keeps them, clients are led to it by a signed address. What such an address
cannot say as we do, and whatever is to come through us, is read from there as it is sent.
"""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Header, Request, Response
from fastapi.responses import FileResponse, RedirectResponse, StreamingResponse

from api.methods import IS_HEAD
from api.negotiation import IfNoneMatch, check_range, holds_newest, only_range
from jobs.artifacts import Artifacts


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that can be sent; ``digest`` is its SHA-256, hexadecimal."""

    path: Path
    digest: str


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a request says of the file that it has, and of the bytes that it wants."""

    if_none_match: str | None
    byte_range: str | None
    if_range: str | None
    is_head: bool = False


def get_conditions(
    request: Request,
    if_none_match: IfNoneMatch = None,
    byte_range: Annotated[
        str | None, Header(alias="range", description="bytes=0-99 sends these only")
    ] = None,
    if_range: Annotated[
        str | None, Header(description="the ETag that Range counts for; else all is sent")
    ] = None,
) -> Conditions:
    """The request's headers."""
    return Conditions(if_none_match, byte_range, if_range, bool(request.scope.get(IS_HEAD)))


LED_AWAY: dict[str, Any] = {
    "description": "An object store has the file: Location is good for fifteen minutes, and takes "
    "no API key.",
    "headers": {"Location": {"schema": {"type": "string", "format": "uri"}}},
}
"""How OpenAPI documents the answer that leads clients to an object store."""

ConditionsDep = Annotated[Conditions, Depends(get_conditions)]


def file_answer(
    artifacts: Artifacts,
    file: StoredFile,
    asked: Conditions,
    *,
    name: str,
    media_type: str = "application/octet-stream",
) -> Response:
    """The file under this name, or the part that is asked for; 304 where the client has it.

    Raises:
        FileNotFoundError: it is gone.
        Problem: none of the bytes that are asked for exist.
    """
    etag = f'"{file.digest}"'
    if holds_newest(asked.if_none_match, etag):
        return Response(status_code=304, headers={"ETag": etag})
    size_bytes = artifacts.store.size_bytes(file.path)
    if size_bytes is None:
        raise FileNotFoundError(file.path)
    wants_part = asked.byte_range is not None and asked.if_range in {None, etag}
    if wants_part:
        check_range(str(asked.byte_range), size_bytes)
    digest = base64.b64encode(bytes.fromhex(file.digest)).decode()
    headers = {"ETag": etag, "Repr-Digest": f"sha-256=:{digest}:"}
    # the store knows neither our ETag, nor a HEAD by the signature of a GET
    if asked.if_range is None and not asked.is_head:
        url = artifacts.store.link(file.path, name=name, media_type=media_type)
        if url is not None:
            return RedirectResponse(url, 307, {**headers, "Cache-Control": "no-store"})
    if file.path.is_file():
        return FileResponse(file.path, media_type=media_type, filename=name, headers=headers)
    headers |= {"Content-Disposition": f'attachment; filename="{name}"', "Accept-Ranges": "bytes"}
    part = only_range(str(asked.byte_range), size_bytes) if wants_part else None
    start, stop = part or (0, size_bytes)
    headers["Content-Length"] = str(stop - start)
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size_bytes}"
    chunks = artifacts.store.chunks(file.path, start, stop)
    return StreamingResponse(chunks, 206 if part else 200, headers, media_type)
