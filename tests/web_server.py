"""A real web server for tests, which does what it is told, be it ever so wrong."""

import contextlib
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Handler = BaseHTTPRequestHandler
Answer = Callable[[Handler], None]

_RANGE = re.compile(r"bytes=(\d+)-")


@dataclass(slots=True)
class WebServer:
    """What it answers to each path, and what it was asked, in order: paths and their headers.

    ``bodies`` are those of what was POSTed.
    ``over`` is set when the test is: whoever keeps a client waiting waits for it.
    """

    port: int
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """The address of a path on this server."""
        return f"http://{host}:{self.port}{path}"

    def paths(self) -> list[str]:
        """The paths that were asked for."""
        return [path for path, _ in self.asked]

    def ranges(self) -> list[str | None]:
        """The ranges that were asked for."""
        return [headers.get("Range") for _, headers in self.asked]


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[WebServer]:
    """A server on loopback, with TLS where a context is given."""

    class _Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # what is left unread would be taken for the next request
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.command == "POST":
                server.bodies.append(body)
            server.asked.append((self.path, dict(self.headers)))
            with contextlib.suppress(OSError):
                server.answers.get(self.path.partition("?")[0], status(404))(self)

        do_HEAD = do_GET  # noqa: N815 - the library's own name
        do_POST = do_GET  # noqa: N815 - the library's own name

        def log_message(self, *_: object) -> None:
            pass

    class _Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that goes away is no error."""

    listener = _Server(("127.0.0.1", 0), _Handler)
    if context is not None:
        listener.socket = context.wrap_socket(listener.socket, server_side=True)
    server = WebServer(listener.server_address[1])
    thread = threading.Thread(target=listener.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        listener.shutdown()
        thread.join()
        listener.server_close()


def status(code: int, content: bytes = b"", **headers: str) -> Answer:
    """An answer with this status; ``_`` in the names of headers stands for ``-``."""

    def answer(handler: Handler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content)

    return answer


def redirect(location: str, code: int = 302) -> Answer:
    """An answer that leads elsewhere."""
    return status(code, Location=location)


def a_file(
    content: bytes,
    *,
    tag: str | None = '"1"',
    cuts: list[int] | None = None,
    ranges: bool = True,
) -> Answer:
    """A file that can be asked for in part, if ``ranges``.

    Each answer breaks off after the first number of bytes that is left in ``cuts``.
    """

    def answer(handler: Handler) -> None:
        found = _RANGE.fullmatch(handler.headers.get("Range", "")) if ranges else None
        is_same = tag is not None and handler.headers.get("If-Range") == tag
        begin = int(found[1]) if found and is_same else 0
        handler.send_response(206 if begin else 200)
        if begin:
            handler.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        if tag is not None:
            handler.send_header("ETag", tag)
        handler.send_header("Content-Length", str(len(content) - begin))
        handler.end_headers()
        length = cuts.pop(0) if cuts else len(content)
        handler.wfile.write(content[begin : begin + length])

    return answer
