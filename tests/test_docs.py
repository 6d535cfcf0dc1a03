"""The documentation keeps up with the code: examples run, links lead somewhere, codes exist."""

import contextlib
import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from httpx import Client, Response
from sqlalchemy import update

import tests.api.conftest  # noqa: F401  (silences the test client, so it comes first)
from api.app import create_app
from api.problems import KINDS
from jobs import deliveries, models, tables, webhooks
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import NEXT_STATES, JobType
from jobs.outbox import ENDS
from jobs.settings import Settings
from jobs.source_limits import Excess
from ml.theory.lr_suggestions import RULES
from ml.theory.parts import Shortage
from tests import pages
from tests.api import given
from tests.pages import DOCS, ROOT, Block, Command
from tests.served import served
from worker import failures

COMMANDS = [command for page in sorted(DOCS.glob("*.md")) for command in pages.commands(page)]
CLIENT_PAGE = "client.md"
"""Its examples ask a service."""
PYTHON = [
    (page.name, block)
    for page in sorted(DOCS.glob("*.md"))
    for block in pages.blocks(page)
    if block.language == "python" and page.name != CLIENT_PAGE
]
PICTURES = DOCS / "pictures"
_STATELESS = ("/v1/explain/", "/v1/architectures")
_MADE_UP = {"lr": 2e-3, "marker": {"lr": 2e-2, "loss": 0.9}, "step": 3}


def test_every_link_leads_somewhere() -> None:
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages.pages()
        for target in pages.links(page)
        if not _exists(page, target)
    ]

    assert broken == []


def test_every_test_that_a_page_names_exists() -> None:
    named = {
        (page.name, path)
        for page in pages.pages()
        for path in re.findall(r"`(tests/[\w/.]+)`", page.read_text())
    }

    assert {name for name, _ in named} >= {"reliability.md", "reproducibility.md"}
    assert {(name, path) for name, path in named if not (ROOT / path).exists()} == set()


def test_every_page_is_in_the_index() -> None:
    listed = set(pages.links(DOCS / "README.md"))

    assert {page.name for page in DOCS.glob("*.md")} - listed == {"README.md"}


def test_every_picture_is_shown_on_a_page_and_is_light_enough_for_it() -> None:
    shown = {
        (page.parent / target).resolve() for page in pages.pages() for target in pages.links(page)
    }
    pictures = {file for file in PICTURES.iterdir() if file.suffix in {".svg", ".png", ".jpg"}}

    assert pictures
    assert {file.name for file in pictures - shown} == set()
    assert {file.name for file in pictures if file.stat().st_size > 400_000} == set()


def test_every_file_that_the_tour_keeps_is_one_of_its_pictures() -> None:
    kept = {command.output for command in pages.commands(DOCS / "techniques.md")} - {None}

    assert kept
    assert kept - {file.name for file in PICTURES.iterdir()} == set()


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    """A client of the whole application, without a Redis or a worker."""
    from starlette.testclient import TestClient

    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        yield client


@pytest.fixture
def names(
    client: Client, database: Database, artifacts: Artifacts, settings: Settings
) -> dict[str, str]:
    """What the variables of the pages stand for: a ready dataset and jobs that ran on it."""
    pets, hub = (settings.dataset_roots[0] / name for name in ("pets", "hub"))
    given.files(pets, *(f"photos/{number}.jpg" for number in range(1, 5)))
    (pets / "labels.csv").write_text(
        "image,breed,fold\n1.jpg,beagle,train\n2.jpg,pug,valid\n3.jpg,beagle,train\n4.jpg,pug,train\n"
    )
    parts = ("train", "validation", "test")
    given.files(hub, *(f"{part}/{label}/1.jpg" for part in parts for label in ("cat", "dog")))
    dataset = given.ready_dataset(database)
    child = given.ready_dataset(database, changes=given.NO_CHANGES)
    given.items(dataset, artifacts)
    curve = {
        "lrs": [1e-3, 2e-3], "losses": [2.0, 1.0], "smoothed": [2.0, 1.5], "zero_lag": [2.0, 1.0],
        "stopped": "completed", "diverged_at_step": None, "warnings": [],
        "suggestions": dict.fromkeys(RULES, _MADE_UP),
        "recommended": {"lr": 2e-3, "rule": "consensus", "range": [1e-3, 4e-3],
                        "confidence": "medium", "reasons": ["rules_agree"]},
    }  # fmt: skip
    found = given.succeeded(database, JobType.LR_FIND, dataset, {"lr_curve": curve})
    trained = given.evaluated_fully(database, artifacts, dataset)
    given.a_drawer(database)
    for plot in ("confusion", "top-losses", "calibration"):
        client.get(f"/v1/jobs/{trained.id}/plots/{plot}.svg", headers={"Prefer": "wait=0"})
        given.draw(database, artifacts)
    preview = given.previewed(database, dataset)
    at_once = {"Prefer": "wait=0"}
    client.get(f"/v1/jobs/{preview.id}/plots/presizing-preview.png", headers=at_once)
    given.draw(database, artifacts)
    with database.write() as connection:
        webhook = webhooks.create(
            connection, owner="local", url="https://hooks.example.com/", events=ENDS, most=9
        ).webhook
        delivery = deliveries.send_test(connection, webhook.id)
        # nothing is sent while the pages are read
        connection.execute(update(tables.webhook_deliveries).values(due_ms=2**42))
    return {
        "DS": dataset.id,
        "CHILD": child.id,
        "PETS": str(pets),
        "HUB": str(hub),
        "PREVIEW": preview.id,
        "FIND": found.id,
        "JOB": trained.id,
        "OTHER": given.evaluated(database, artifacts, dataset, spec={"seed": 43}).id,
        "ITEM": given.photo(dataset, 0),
        "MODEL": given.a_model(
            database, artifacts, dataset, job_id=trained.id, card=given.WHOLE_CARD
        ).id,
        "WEBHOOK": webhook.id,
        "DELIVERY": delivery.id,
        "RUN": given.started(database, JobType.FINE_TUNE, dataset).id,
    }


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_every_command_gets_the_answer_that_its_page_shows(
    client: Client, names: dict[str, str], command: Command
) -> None:
    asked = command.filled(names)

    # no worker is there that could change the job while the answer waits
    headers = {**asked.headers, **({"Prefer": "wait=0.1"} if "Prefer" in asked.headers else {})}
    response: Response = client.request(
        asked.method, asked.path, headers=headers, content=asked.body
    )

    claimed = asked.answer if isinstance(asked.answer, dict) else {}
    if "status" in claimed:
        assert response.status_code == claimed["status"], response.text
    else:
        assert response.is_success, response.text
    if asked.path.startswith(_STATELESS) and claimed:
        assert list(pages.differences(claimed, response.json())) == []
    elif claimed:
        assert list(pages.unknown_members(claimed, response.json())) == []


@pytest.mark.parametrize(("page", "block"), PYTHON, ids=[page for page, _ in PYTHON])
def test_every_python_example_prints_what_its_page_shows(page: str, block: Block) -> None:
    printed = io.StringIO()

    with contextlib.redirect_stdout(printed):
        exec(compile(block.text, page, "exec"), {"__name__": page})  # noqa: S102  (our own pages)

    assert block.answer is not None, "show what it prints"
    assert printed.getvalue() == block.answer.text


def test_every_example_of_the_client_prints_what_its_page_shows(
    names: dict[str, str],
    database: Database,
    artifacts: Artifacts,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    _give_its_digest(database, artifacts, names["MODEL"])
    shared: dict[str, Any] = dict(names)

    with served(settings) as url:
        for block in pages.blocks(DOCS / CLIENT_PAGE):
            if block.language == "python":
                text = block.text.replace("http://127.0.0.1:8000", url)
                printed = io.StringIO()
                with contextlib.redirect_stdout(printed):
                    exec(compile(text, CLIENT_PAGE, "exec"), shared)  # noqa: S102  (our own page)
                assert block.answer is not None, "show what it prints"
                assert printed.getvalue() == block.answer.text
        shared["client"].close()


def _give_its_digest(database: Database, artifacts: Artifacts, model_id: str) -> None:
    """The model has the digest of its file, which tests otherwise make up."""
    file = artifacts.absolute(models.get(database, model_id).path)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    with database.write() as connection:
        connection.execute(
            update(tables.models).where(tables.models.c.id == model_id).values(digest=digest)
        )


def test_every_problem_is_explained_with_its_status_and_its_remedy() -> None:
    rows = [
        f"| `{code}` | {kind.status} | {kind.title} | {kind.remedy} |"
        for code, kind in KINDS.items()
    ]

    shown = _rows(DOCS / "errors.md", "## Problems")

    assert [row for row in rows if row not in shown] == []
    assert [row for row in shown if row not in rows] == []


def test_every_failure_of_a_job_is_explained() -> None:
    shown = {row.split("`")[1] for row in _rows(DOCS / "errors.md", "## Failed jobs")}

    assert shown == _failure_codes()


def test_every_move_of_a_job_is_in_the_table() -> None:
    moves = {
        state.value: sorted(each.value for each in following) or ["nothing"]
        for state, following in NEXT_STATES.items()
    }

    cells = [row.split(" | ") for row in _rows(DOCS / "jobs.md", "## States")]

    assert {row[0].strip("| `"): sorted(re.findall(r"\w+", row[1])) for row in cells} == moves


def test_every_event_of_a_job_is_explained() -> None:
    written = re.compile(r'"((?:job|dataset)\.[a-z_]+)"')
    sources = [path.read_text() for path in (ROOT / "jobs").glob("*.py")]
    kinds = {kind for text in sources for kind in written.findall(text)} - {"job.json"}

    explained = (DOCS / "jobs.md").read_text()

    assert {kind for kind in kinds if f"`{kind}`" not in explained} == set()


def _exists(page: Path, target: str) -> bool:
    path, _, fragment = target.partition("#")
    file = page.parent / path if path else page
    return file.exists() and (not fragment or fragment in pages.anchors(file))


def _rows(page: Path, heading: str) -> list[str]:
    """The rows of the first table behind the heading, without its head."""
    section = page.read_text().split(f"\n{heading}\n", 1)[1].split("\n## ", 1)[0]
    return [line for line in section.splitlines() if line.startswith("| `")]


def _failure_codes() -> set[str]:
    """Every code that ``error`` of a job or a dataset can have."""
    named = re.compile(r'(?:JobFailedError\(\s*|code=|"code": )"([a-z_]+)"')
    sources: list[Any] = [*(ROOT / "worker").rglob("*.py"), ROOT / "jobs" / "moves.py"]
    sources += [ROOT / "jobs" / name for name in ("leases.py", "spec_versions.py")]
    warned = {"label_not_in_train", "no_valid_part"}  # findings of a report, not failures
    codes = {code for path in sources for code in named.findall(path.read_text())}
    known = {code for code, _ in failures._CODES.values()}
    of_amounts = {
        code for kind in (Shortage, Excess) for code in get_args(get_type_hints(kind)["code"])
    }
    return (codes - warned) | known | of_amounts
