"""Uploads: archives of photos that are sent first and imported afterwards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from python_multipart.multipart import parse_options_header
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from api.auth import CallerDep
from api.content_digest import HEADER, ContentDigest
from api.deletion import delete_file
from api.dependencies import ServicesDep, UploadIdPath
from api.idempotency import KeyHeader, Once
from api.pagination import PageDep, paged, take
from api.problems import Problem, at, problem_responses
from api.receiving import (
    FORMAT_OF_TYPE,
    MULTIPART,
    Arrival,
    MultipartBody,
    RawBody,
    Taker,
    check_disk,
    too_large,
)
from api.schemas.uploads import UploadList, UploadResource
from api.services import Services
from jobs import idempotency, quotas, uploads
from jobs.idempotency import Claim, StoredAnswer
from jobs.uploads import Received, Upload

router = APIRouter(prefix="/v1/uploads", tags=["Datasets"])

_CHUNK_BYTES = 1 << 20
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FORM = {
    "schema": {
        "type": "object",
        "properties": {
            "file": {"type": "string", "format": "binary", "description": "the archive"}
        },
        "required": ["file"],
    }
}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "a .zip, .tar, .tar.gz, .tgz or .tar.zst of photos",
        "content": {**dict.fromkeys(FORMAT_OF_TYPE, _BINARY), MULTIPART: _FORM},
    }
}


@router.post(
    "",
    operation_id="createUpload",
    summary="Send an archive of photos",
    status_code=201,
    response_model=UploadResource,
    openapi_extra=_BODY,
    responses=problem_responses(
        "digest_mismatch",
        "upload_interrupted",
        "payload_too_large",
        "unsupported_media_type",
        "archive_invalid",
        "validation_failed",
        "idempotency_key_reused",
        "quota_exceeded",
        "disk_full",
    ),
)
async def create_upload(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    idempotency_key: KeyHeader = None,
    content_digest: Annotated[
        str | None,
        Header(description="sha-256=:base64: or sha-512 of the body (RFC 9530); it is checked"),
    ] = None,
) -> Response:
    """The body is the archive itself, or a form with it as its only field; it is kept as it is.

    An `Idempotency-Key` needs a `Content-Digest`. Nothing is unpacked before a dataset names it.
    """
    digest = ContentDigest.of(content_digest)
    claim = _claim(request, caller.owner, idempotency_key, digest)
    once = Once(services.database, claim)
    replay = await run_in_threadpool(once.replayed)
    if replay is not None:
        await _drain(request)
        return replay
    async with _arriving(request, services) as arrival:
        received = await _received(request, _taker(request, arrival, digest))
        return await run_in_threadpool(_kept, services, once, arrival, received, caller.owner)


@router.get(
    "",
    operation_id="listUploads",
    summary="List uploads",
    response_model=UploadList,
    responses=problem_responses("validation_failed"),
)
def list_uploads(
    request: Request, services: ServicesDep, caller: CallerDep, page: PageDep
) -> Response:
    """All uploads of the caller's owner, newest first."""
    found = uploads.list_uploads(
        services.database,
        after=page.after_id("upl"),
        limit=page.limit + 1,
        owner=caller.listed_owner,
    )
    shown, has_more = take(found, page.limit)
    cursor = shown[-1].id if has_more else None
    data = [_resource(services, upload) for upload in shown]
    return paged(request, UploadList(data=data, has_more=has_more, next_cursor=cursor), cursor)


@router.get(
    "/{upload_id}",
    operation_id="getUpload",
    summary="Read an upload",
    responses=problem_responses("not_found", "validation_failed"),
)
def get_upload(services: ServicesDep, upload_id: UploadIdPath) -> UploadResource:
    """What was sent, and until when it is kept."""
    return _resource(services, uploads.get(services.database, upload_id))


@router.delete(
    "/{upload_id}",
    operation_id="deleteUpload",
    summary="Delete an upload",
    status_code=204,
    responses=problem_responses("not_found", "upload_in_use", "validation_failed"),
)
def delete_upload(services: ServicesDep, upload_id: UploadIdPath) -> None:
    """Removes the archive; datasets that were imported from it keep their photos."""
    uploads.delete_upload(services.database, services.artifacts, upload_id)


def _claim(request: Request, owner: str, key: str | None, digest: ContentDigest) -> Claim | None:
    if key is None:
        return None
    if not digest.expected:
        detail = "an upload with an Idempotency-Key needs a Content-Digest, to tell equal ones"
        raise at(f"/header/{HEADER}", "validation_failed", detail)
    content = {name: value.hex() for name, value in digest.expected.items()}
    return Claim(
        scope=f"{owner} {request.method} {request.url.path}",
        key=key,
        fingerprint=idempotency.fingerprint(content),
    )


@asynccontextmanager
async def _arriving(request: Request, services: Services) -> AsyncIterator[Arrival]:
    """A file for the archive, for which there is room; at the end nothing else of it is left."""
    media_type = _media_type(request)[0]
    if media_type != MULTIPART and media_type not in FORMAT_OF_TYPE:
        offered = ", ".join([MULTIPART, *FORMAT_OF_TYPE])
        detail = f"Content-Type is {media_type[:100]!r}; send one of {offered}"
        raise Problem("unsupported_media_type", detail)
    limits = services.settings
    length = request.headers.get("content-length", "0")
    announced = int(length) if length.isascii() and length.isdigit() else 0
    if announced > limits.max_upload_bytes + _CHUNK_BYTES:
        raise too_large(limits)
    folder = services.artifacts.uploads_folder()
    await run_in_threadpool(check_disk, folder, announced, limits)
    declared = FORMAT_OF_TYPE.get(media_type)
    arrival = await run_in_threadpool(
        lambda: Arrival(services.artifacts, limits, declared=declared)
    )
    try:
        yield arrival
    finally:
        # at once: a request that is given up has no time to wait for a thread
        arrival.discard()


def _taker(request: Request, arrival: Arrival, digest: ContentDigest) -> Taker:
    media_type, boundary = _media_type(request)
    if media_type != MULTIPART:
        return RawBody(arrival, digest)
    if not boundary:
        raise at("/header/Content-Type", "validation_failed", "the form has no boundary")
    return MultipartBody(arrival, digest, boundary)


def _media_type(request: Request) -> tuple[str, bytes]:
    """The body's type, and the boundary where it is a form."""
    kind, options = parse_options_header(request.headers.get("content-type"))
    return kind.decode("latin-1").lower(), options.get(b"boundary", b"")


async def _received(request: Request, taker: Taker) -> Received:
    waiting = bytearray()
    try:
        async for chunk in request.stream():
            waiting += chunk
            if len(waiting) >= _CHUNK_BYTES:
                await run_in_threadpool(taker.feed, bytes(waiting))
                waiting.clear()
    except ClientDisconnect as gone:
        detail = "the connection ended before the body did; nothing was kept"
        raise Problem("upload_interrupted", detail) from gone
    await run_in_threadpool(taker.feed, bytes(waiting))
    return await run_in_threadpool(taker.finish)


async def _drain(request: Request) -> None:
    """A client that sends for the second time is let finish; not every one reads before."""
    async for _ in request.stream():
        pass


def _kept(
    services: Services, once: Once, arrival: Arrival, received: Received, owner: str
) -> Response:
    upload_id = uploads.keep(services.database, services.artifacts, arrival.path, received)
    added: list[Upload] = []

    def act(connection: Connection) -> StoredAnswer:
        upload = uploads.add(connection, upload_id, received, owner=owner)
        quotas.require_within(connection, services.settings, owner)
        added.append(upload)
        return _created(services, added[0])

    try:
        return once.create(act, then=lambda: None)
    finally:
        if not added:
            # an equal request was faster, and was answered for both
            delete_file(services.artifacts, services.artifacts.upload_file(upload_id))


def _created(services: Services, upload: Upload) -> StoredAnswer:
    return StoredAnswer(
        status=201,
        headers={"Location": f"/v1/uploads/{upload.id}"},
        body=_resource(services, upload).model_dump_json(),
    )


def _resource(services: Services, upload: Upload) -> UploadResource:
    return UploadResource.of(upload, keep_s=services.settings.upload_keep_s)
