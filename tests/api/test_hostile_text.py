"""Text of clients that would like to be a header, a line of the log, or a head without end."""

import logging
import socket
import threading
from collections.abc import Iterator
from urllib.parse import unquote

import pytest
from starlette.testclient import TestClient

from api.app import create_app
from api.main import Server, config_of
from jobs.database import Database
from jobs.logs import configure_logging
from jobs.settings import Settings
from tests.api.given import CATS, MODEL_CARD, problem
from tests.jobs.given import a_model

INJECTED = "%0d%0aX-Evil:%201%0d%0a%0d%0a<b>"
BIDI, BELL = "\u202e", "\x07"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/datasets?limit=1&after=" + INJECTED,
        "/v1/datasets/ds_1" + INJECTED,
        "/v1/jobs/job_1/plots/loss-curve.svg" + INJECTED,
        "/v1/models/mdl_1/download?format=safetensors" + INJECTED,
        "/" + INJECTED,
    ],
)
def test_an_address_never_becomes_a_header(client: TestClient, path: str) -> None:
    response = client.get(path)

    assert response.status_code in {404, 422}
    assert "x-evil" not in response.headers
    assert all(value.isprintable() for value in response.headers.values())


def test_the_link_to_the_next_page_keeps_what_was_asked_as_text(
    client: TestClient, database: Database
) -> None:
    asked = f"{INJECTED}%3E;%20rel=%22other%22"
    for _ in range(2):
        a_model(database, name=unquote(asked), card=MODEL_CARD)

    response = client.get(f"/v1/models?limit=1&name={asked}")

    link = response.headers["link"]
    assert link.isprintable()
    assert (link.count(">"), link.count("rel=")) == (1, 1) or "rel%3D" in link
    assert "x-evil" not in response.headers


def test_a_name_of_any_characters_comes_back_as_it_was(client: TestClient) -> None:
    name = f"cats{BIDI}gnp.{BELL}\r\n😀 漢"

    made = client.post("/v1/datasets", json={**CATS, "name": name})

    assert made.json()["name"] == name
    # JSON itself has no raw control character
    assert BELL not in made.text
    assert "\r" not in made.text


def test_what_is_wrong_is_quoted_without_its_control_characters(client: TestClient) -> None:
    response = client.post("/v1/datasets", json={**CATS, f"a{BELL}\x1b[2J": 1})

    detail = problem(response, 422, "validation_failed")["detail"]
    assert BELL not in detail
    assert "\x1b" not in detail


def test_a_line_of_the_log_stays_one_line(
    client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = logging.getLogger().handlers
    configure_logging("console", "info")
    try:
        client.get("/v1/%0a2026-01-01%20[info]%20all%20is%20well%1b[2J" + "%e2%80%ae%c2%85")
    finally:
        logging.getLogger().handlers = kept

    (line,) = [line for line in capsys.readouterr().err.split("\n") if "all is well" in line]
    assert "status=404" in line
    assert line.isprintable()


# --- heads ------------------------------------------------------------------------------------


@pytest.fixture
def address(settings: Settings) -> Iterator[tuple[str, int]]:
    """Where a server of the process's own kind listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        app = create_app(settings)
        server = Server(app, config_of(app))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        yield listening.getsockname()
        server.should_exit = True
        thread.join()


def _answered(address: tuple[str, int], head: bytes, filler_bytes: int) -> bytes:
    """The first line of the answer to a head with so much in it that never ends."""
    with socket.create_connection(address) as connection:
        try:
            connection.sendall(head)
            for _ in range(filler_bytes // 4096):
                connection.sendall(b"a" * 4096)
        except OSError:
            # it would not hear more
            pass
        return connection.recv(4096).split(b"\r\n")[0]


@pytest.mark.parametrize("head", [b"GET /healthz HTTP/1.1\r\nX-Long: ", b"GET /"])
def test_a_head_without_end_is_refused_before_it_fills_the_memory(
    address: tuple[str, int], head: bytes
) -> None:
    assert _answered(address, head, 256 * 1024).startswith(b"HTTP/1.1 400")


def test_a_head_of_some_length_is_read(address: tuple[str, int]) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: " + b"a" * 16_000 + b"\r\n\r\n"

    assert _answered(address, head, 0) == b"HTTP/1.1 200 OK"
