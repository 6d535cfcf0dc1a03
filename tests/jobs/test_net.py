"""The guard, tried with real servers: nothing leads to an address that was not checked."""

import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from jobs.addresses import PrivateTargets
from jobs.errors import (
    SourceForbiddenError,
    SourceInterruptedError,
    SourceTimeoutError,
    SourceUnreachableError,
)
from jobs.net import Guard, addresses_of
from tests.web_server import Handler, WebServer, redirect, serving, status

LOOPBACK = PrivateTargets.of(["127.0.0.1"])
NAME = "photos.example"
Resolve = Callable[[str, int], Sequence[str]]


@pytest.fixture
def server() -> Iterator[WebServer]:
    with serving() as server:
        yield server


def guard(
    targets: PrivateTargets = LOOPBACK,
    resolve: Resolve = addresses_of,
    *,
    connect_s: float = 5,
    idle_s: float = 5,
) -> Guard:
    return Guard(targets=targets, resolve=resolve, connect_s=connect_s, idle_s=idle_s)


def read(guard: Guard, url: str) -> bytes:
    with guard.get(url, {}) as answer:
        assert answer.status == 200
        return b"".join(answer.chunks)


def always(*addresses: str) -> Resolve:
    return lambda *_: addresses


def test_the_answer_is_what_the_server_sends(server: WebServer) -> None:
    server.answers["/a"] = status(200, b"photos", ETag='"1"')

    with guard().get(server.url("/a?b=c"), {"If-Range": "x"}) as answer:
        assert b"".join(answer.chunks) == b"photos"
        assert (answer.status, answer.headers["etag"]) == (200, '"1"')

    path, headers = server.asked[0]
    assert path == "/a?b=c"
    assert headers == {"Host": f"127.0.0.1:{server.port}", "If-Range": "x"}


def test_a_name_is_asked_for_once_and_the_checked_address_is_called(server: WebServer) -> None:
    server.answers["/a"] = status(200, b"photos")
    asked: list[tuple[str, int]] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"]

    assert read(guard(resolve=resolve), server.url("/a", NAME)) == b"photos"
    assert asked == [(NAME, server.port)]
    assert server.asked[0][1]["Host"] == f"{NAME}:{server.port}"


def test_a_second_answer_of_the_name_server_never_counts(server: WebServer) -> None:
    """DNS rebinding: public when it is checked, private when it would be called."""
    server.answers["/a"] = status(200, b"secret")
    answers = iter([["203.0.113.1"], ["127.0.0.1"]])
    nothing = PrivateTargets.of(["203.0.113.0/24"])

    with pytest.raises(SourceInterruptedError, match="cannot be reached"):
        read(guard(nothing, lambda *_: next(answers), connect_s=0.2), server.url("/a", NAME))
    assert server.asked == []


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["1.1.1.1", "127.0.0.1"],
        ["127.0.0.1", "1.1.1.1"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["169.254.169.254"],
        ["fe80::1%lo"],
        ["0.0.0.0"],  # noqa: S104 - nothing binds it
    ],
)
def test_a_name_with_an_address_that_is_not_public_is_not_called(
    server: WebServer, addresses: list[str]
) -> None:
    server.answers["/a"] = status(200, b"secret")
    nothing = PrivateTargets.of(())

    with pytest.raises(SourceForbiddenError, match=f"{NAME} leads to .* is not a public address"):
        read(guard(nothing, always(*addresses)), server.url("/a", NAME))
    assert server.asked == []


def test_of_several_addresses_the_first_that_answers_is_called(server: WebServer) -> None:
    server.answers["/a"] = status(200, b"photos")
    loopbacks = PrivateTargets.of(["127.0.0.0/8"])

    url = server.url("/a", NAME)
    assert read(guard(loopbacks, always("127.0.0.2", "127.0.0.1")), url) == b"photos"


def test_a_name_that_does_not_exist_is_unreachable() -> None:
    with pytest.raises(SourceUnreachableError, match=r"nowhere\.invalid"):
        read(guard(), "https://nowhere.invalid/a.zip")
    with pytest.raises(SourceUnreachableError, match="has no address"):
        read(guard(resolve=always()), "https://nowhere.invalid/a.zip")


def test_a_proxy_of_the_environment_is_not_asked(
    server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers["/a"] = status(200, b"photos")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert read(guard(), server.url("/a")) == b"photos"


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(server: WebServer, code: int) -> None:
    server.answers |= {"/a": redirect("/b", code), "/b": status(200, b"photos")}

    assert read(guard(), server.url("/a")) == b"photos"
    assert server.paths() == ["/a", "/b"]


@pytest.mark.parametrize(
    "location",
    ["http://127.0.0.2:{port}/b", "http://localhost:{port}/b", "http://[::1]:{port}/b",
     "http://2130706433:{port}/b", "file:///etc/passwd", "http://169.254.169.254/latest/meta-data",
     "http://u:p@127.0.0.1:{port}/b", "gopher://127.0.0.1:{port}/b", "http://127.0.0.1:22/"],
)  # fmt: skip
def test_a_redirect_to_where_nobody_may_go_is_not_followed(
    server: WebServer, location: str
) -> None:
    server.answers |= {
        "/a": redirect(location.format(port=server.port)),
        "/b": status(200, b"secret"),
    }

    only_this_name = PrivateTargets.of([NAME])

    with pytest.raises(SourceForbiddenError):
        read(guard(only_this_name, always("127.0.0.1")), server.url("/a", NAME))
    assert server.paths() == ["/a"]


def test_the_name_behind_a_redirect_is_checked_anew(server: WebServer) -> None:
    server.answers |= {
        "/a": redirect(server.url("/b", "other.example")),
        "/b": status(200, b"secret"),
    }

    with pytest.raises(SourceForbiddenError, match=r"other\.example leads to 127\.0\.0\.1"):
        read(guard(PrivateTargets.of([NAME]), always("127.0.0.1")), server.url("/a", NAME))
    assert server.paths() == ["/a"]


def test_redirects_without_end_end(server: WebServer) -> None:
    server.answers |= {"/a": redirect("/b"), "/b": redirect("/a")}

    with pytest.raises(SourceUnreachableError, match="more than 5 times"):
        read(guard(), server.url("/a?token=secret"))
    assert len(server.asked) == 6


def test_a_redirect_to_nowhere_is_an_answer_like_any_other(server: WebServer) -> None:
    server.answers["/a"] = status(302)

    with guard().get(server.url("/a"), {}) as answer:
        assert answer.status == 302


def test_nobody_there_is_said(server: WebServer) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    with pytest.raises(SourceInterruptedError, match="Connection refused"):
        read(guard(), f"http://127.0.0.1:{port}/")


def test_a_server_that_says_nothing_is_left(server: WebServer) -> None:
    def silent(_: Handler) -> None:
        server.over.wait()

    server.answers["/a"] = silent

    with pytest.raises(SourceTimeoutError, match=r"/a sent nothing for 0\.2 s"):
        read(guard(idle_s=0.2), server.url("/a"))


@pytest.mark.parametrize(
    "answered",
    [b"SSH-2.0-OpenSSH_9.2\r\n", b"+PONG\r\n", b"HTTP/1.1 200 OK\r\nA: " + bytes(200_000)],
)
def test_what_speaks_no_http_is_said(server: WebServer, answered: bytes) -> None:
    def answer(handler: Handler) -> None:
        handler.wfile.write(answered)

    server.answers["/a"] = answer

    with pytest.raises(SourceInterruptedError, match="broke off"):
        read(guard(), server.url("/a"))


# --- TLS ------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of `NAME` with its key, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    names = [x509.DNSName(NAME), x509.IPAddress(ip_address("127.0.0.9"))]
    signed = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "certificate.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return file


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[tuple[WebServer, list[str | None]]]:
    """A server with that certificate, and the names that its clients asked for."""
    asked: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    with serving(context) as server:
        server.answers["/a"] = status(200, b"photos")
        yield server, asked


def test_the_certificate_is_that_of_the_name_not_of_the_address(
    tls_server: tuple[WebServer, list[str | None]],
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server, asked = tls_server

    url = f"https://{NAME}:{server.port}/a"
    assert read(guard(resolve=always("127.0.0.1")), url) == b"photos"
    assert asked == [NAME]


def test_a_certificate_of_another_name_is_not_accepted(
    tls_server: tuple[WebServer, list[str | None]],
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    server, _ = tls_server

    with pytest.raises(SourceUnreachableError, match="certificate verify failed") as refused:
        read(guard(resolve=always("127.0.0.1")), f"https://other.example:{server.port}/a")
    assert not isinstance(refused.value, SourceInterruptedError)
    assert server.asked == []


def test_a_certificate_that_nobody_vouches_for_is_not_accepted(
    tls_server: tuple[WebServer, list[str | None]],
) -> None:
    server, _ = tls_server

    with pytest.raises(SourceUnreachableError, match="certificate verify failed"):
        read(guard(resolve=always("127.0.0.1")), f"https://{NAME}:{server.port}/a")


def test_a_redirect_from_tls_to_none_is_not_followed(
    tls_server: tuple[WebServer, list[str | None]],
    server: WebServer,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    encrypted, _ = tls_server
    encrypted.answers["/a"] = redirect(server.url("/b"))

    with pytest.raises(SourceForbiddenError, match="not encrypted"):
        read(guard(resolve=always("127.0.0.1")), f"https://{NAME}:{encrypted.port}/a")
    assert server.asked == []
