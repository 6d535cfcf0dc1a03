"""Files of the artifact store as answers: whole, in part, or not at all when they are known."""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Header, Response
from fastapi.responses import FileResponse

from api.negotiation import IfNoneMatch, check_range, holds_newest


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


def get_conditions(
    if_none_match: IfNoneMatch = None,
    byte_range: Annotated[
        str | None, Header(alias="range", description="bytes=0-99 sends these only")
    ] = None,
    if_range: Annotated[
        str | None, Header(description="the ETag that Range counts for; else all is sent")
    ] = None,
) -> Conditions:
    """The request's headers."""
    return Conditions(if_none_match, byte_range, if_range)


ConditionsDep = Annotated[Conditions, Depends(get_conditions)]


def file_answer(
    file: StoredFile, asked: Conditions, *, name: str, media_type: str = "application/octet-stream"
) -> Response:
    """The file under this name, or the part that is asked for; 304 where the client has it.

    Raises:
        Problem: none of the bytes that are asked for exist.
    """
    etag = f'"{file.digest}"'
    if holds_newest(asked.if_none_match, etag):
        return Response(status_code=304, headers={"ETag": etag})
    if asked.byte_range is not None and asked.if_range in {None, etag}:
        check_range(asked.byte_range, file.path.stat().st_size)
    digest = base64.b64encode(bytes.fromhex(file.digest)).decode()
    return FileResponse(
        file.path,
        media_type=media_type,
        filename=name,
        headers={"ETag": etag, "Repr-Digest": f"sha-256=:{digest}:"},
    )
