"""A real server that speaks S3, on this machine, for tests."""

import http.server
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

BUCKET = "photos"

_PASSED_ON = ("Content-Length", "Content-Type", "ETag", "Last-Modified", "Content-Range")


@dataclass(frozen=True, slots=True)
class ObjectStoreServer:
    """The server's address; it has one bucket, and asks for no credentials."""

    url: str

    def put(self, contents: Mapping[str, bytes]) -> None:
        """The bucket has these objects."""
        with httpx.Client(base_url=f"{self.url}/{BUCKET}", trust_env=False) as client:
            for key, content in contents.items():
                client.put(f"/{key}", content=content).raise_for_status()

    def empty(self) -> None:
        """The bucket is there and has nothing in it."""
        with httpx.Client(base_url=self.url, trust_env=False) as client:
            client.post("/moto-api/reset").raise_for_status()
            client.put(f"/{BUCKET}").raise_for_status()


@contextmanager
def storing() -> Iterator[ObjectStoreServer]:
    """A server of this process's own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield ObjectStoreServer(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait()


@contextmanager
def failing(server: ObjectStoreServer, fragment: str) -> Iterator[ObjectStoreServer]:
    """The same server behind an address where writing a key with this fragment is an error."""

    class Between(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            if self.command == "PUT" and fragment in self.path:
                self.answer(500, {}, b"<Error><Code>InternalError</Code></Error>")
                return
            with httpx.Client(base_url=server.url, trust_env=False) as client:
                answer = client.request(
                    self.command, self.path, content=body, headers=dict(self.headers)
                )
            kept = {name: answer.headers[name] for name in _PASSED_ON if name in answer.headers}
            self.answer(answer.status_code, kept, answer.content)

        def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = pass_on  # noqa: N815

    between = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Between)
    threading.Thread(target=between.serve_forever, daemon=True).start()
    try:
        yield ObjectStoreServer(f"http://127.0.0.1:{between.server_port}")
    finally:
        between.shutdown()
        between.server_close()


def _wait_for(port: int) -> None:
    deadline_s = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.05)
        else:
            return
