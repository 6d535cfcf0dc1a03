"""Archives of photos, sent before a dataset names them."""

import base64
import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx

from tunesmith_client.downloads import Advance
from tunesmith_client.pages import entries
from tunesmith_client.resources import Page, Upload
from tunesmith_client.transport import Transport, read

_CHUNK_BYTES = 1 << 18


class Uploads:
    """``client.uploads``."""

    def __init__(self, transport: Transport) -> None:
        self._http = transport

    def send(self, archive: Path | str, *, advance: Advance | None = None) -> Upload:
        """The archive (.zip, .tar, .tar.gz, .tgz, .tar.zst) is with the service, whole.

        Its SHA-256 goes along, so a connection that breaks is tried again without harm.

        Args:
            archive: file on this machine.
            advance: is called with the bytes sent and all bytes as they go.

        Raises:
            OSError: it cannot be read.
            ProblemError: it is no archive, or too large.
        """
        path = Path(archive)
        with path.open("rb") as file:
            digest = base64.b64encode(hashlib.file_digest(file, "sha256").digest()).decode()
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(path.stat().st_size),
            "Content-Digest": f"sha-256=:{digest}:",
            "Idempotency-Key": str(uuid.uuid4()),
        }
        return self._http.repeated(lambda: self._send(path, headers, advance))

    def get(self, upload_id: str) -> Upload:
        """One upload.

        Raises:
            NotFoundError: there is none with this id.
        """
        return read(Upload, self._http.get(f"/v1/uploads/{upload_id}"))

    def list(self) -> Iterator[Upload]:
        """All uploads, newest first."""
        return entries(self._http, "/v1/uploads", Page[Upload], {})

    def _send(self, path: Path, headers: dict[str, str], advance: Advance | None) -> Upload:
        content = _chunks(path, advance)
        with self._http.streamed(
            "POST", "/v1/uploads", headers=headers, content=content, timeout=_TIMEOUT
        ) as response:
            response.read()
            return read(Upload, response)


_TIMEOUT = httpx.Timeout(10, read=300)
"""After the last byte the service still has to write everything to its disk."""


def _chunks(path: Path, advance: Advance | None) -> Iterator[bytes]:
    all_bytes, done = path.stat().st_size, 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk
            done += len(chunk)
            if advance is not None:
                advance(done, all_bytes)
