"""A page of another origin watches a job by EventSource, with a stream token and no key."""

import html
import json
import re
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from jobs import keys
from jobs.database import Database
from jobs.keys import Scope
from tests.browser.chromium import drawn, needs_chromium
from tests.faults.given import job_when
from tests.faults.installation import Installation, Roster, installed

pytestmark = [pytest.mark.browser, needs_chromium]

SAMPLE = {
    "name": "cats",
    "source": {"type": "sample", "photos_per_class": 8},
    "labels": {"rule": "regex", "pattern": r"^(.+)_\d+\.jpg$"},
}
KINDS = ["job.queued", "job.started", "job.phase_changed", "dataset.ready", "job.succeeded"]
PAGE = """<!doctype html><pre id="told"></pre><script>
const told = [], source = new EventSource(%(url)s);
const show = () => { document.getElementById("told").textContent =
    JSON.stringify({told, closed: source.readyState === EventSource.CLOSED}); };
for (const kind of %(kinds)s)
    source.addEventListener(kind, (event) => { told.push([+event.lastEventId, kind]); show(); });
source.onerror = show;
</script>"""


class Page:
    """What the other origin serves, and where; the key that its server, not its page, has."""

    content = ""
    origin = ""
    key: Mapping[str, str] = {}


@pytest.fixture
def page() -> Iterator[Page]:
    """A web server of another origin, whose only page is set by the test."""
    with _serving(Page()) as page:
        yield page


@pytest.fixture
def installation(page: Page) -> Iterator[Installation]:
    """An installation that asks for keys, and lets that origin's pages use it."""
    with tempfile.TemporaryDirectory(prefix="browser-") as folder:
        roster = Roster(trains=0, prepares=1)
        made = installed(Path(folder), roster, auth="keys", cors_origins=(page.origin,))
        with closing(Database(made.settings.database_url)) as database:
            database.migrate()
            with database.write() as connection:
                new = keys.create(connection, name="browser", scopes={Scope.ADMIN})
        page.key = {"Authorization": f"Bearer {new.secret}"}
        with made:
            yield made


def test_a_page_sees_every_event_once_and_stops_at_the_end(
    page: Page, installation: Installation, tmp_path: Path
) -> None:
    with httpx.Client(base_url=installation.url, headers=page.key, timeout=60) as client:
        job_id = client.post("/v1/datasets", json=SAMPLE).json()["job_id"]
        made = client.post(f"/v1/jobs/{job_id}/stream-tokens").json()
    with closing(installation.database()) as database:
        job_when(database, job_id, lambda job: job.is_terminal, "ends")
    url = f"{installation.url}{made['url']}"
    page.content = PAGE % {"url": json.dumps(url), "kinds": json.dumps(KINDS)}

    # EventSource comes back after 3 s, and is told by 204 that all was said
    shown = drawn(page.origin, tmp_path, budget_ms=20_000)

    found = re.search(r'<pre id="told">(.*?)</pre>', shown, re.DOTALL)
    assert found is not None, shown
    seen = json.loads(html.unescape(found[1]))
    numbers = [number for number, _ in seen["told"]]
    kinds = [kind for _, kind in seen["told"]]
    assert numbers == sorted(set(numbers))
    assert kinds[:2] == ["job.queued", "job.started"]
    assert kinds[-2:] == ["dataset.ready", "job.succeeded"]
    assert seen["closed"] is True


@contextmanager
def _serving(page: Page) -> Iterator[Page]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = page.content.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing is written."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    page.origin = f"http://127.0.0.1:{server.server_port}"
    try:
        yield page
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
