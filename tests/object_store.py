"""A real server that speaks S3, on this machine, for tests."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

BUCKET = "photos"


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
