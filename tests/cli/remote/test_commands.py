"""What commands that ask a service print, and what they end with."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tests.api.conftest  # noqa: F401  (silences the test client, so it comes first)
from jobs import leases
from jobs.artifacts import Artifacts
from jobs.database import Database
from jobs.job import Failure, JobType
from jobs.settings import Settings
from tests.api import given
from tests.archives import a_zip
from tests.cli.conftest import Command
from tests.served import served

HEAVY = {"torch", "fastapi", "sqlalchemy", "celery", "redis", "starlette", "duckdb", "numpy"}


def test_asking_a_service_imports_nothing_of_it() -> None:
    code = (
        "import sys; sys.argv = ['tunesmith', 'jobs', '--help']; import cli.main\n"
        "try: cli.main.main()\n"
        f"except SystemExit: print('loaded', *({HEAVY} & set(sys.modules)))"
    )

    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout

    assert "List jobs, newest first." in said
    assert said.splitlines()[-1].split() == ["loaded"]


@pytest.mark.usefixtures("url")
def test_jobs_are_a_table_for_people_and_an_array_for_programs(
    tunesmith: Command, database: Database
) -> None:
    dataset = given.ready_dataset(database)
    found = given.queued(database, JobType.LR_FIND, dataset)
    given.queued(database, JobType.FINE_TUNE, dataset)

    code, table, err = tunesmith("jobs", "--type", "lr_find")
    _, array, _ = tunesmith("jobs", "--type", "lr_find", "--json")

    assert (code, err) == (0, "")
    assert table.splitlines()[0].split()[:3] == ["job", "type", "state"]
    assert table.splitlines()[2].split()[:3] == [found.id, "lr_find", "queued,"]
    assert [job["id"] for job in json.loads(array)] == [found.id]
    assert "\x1b" not in table


@pytest.mark.usefixtures("url")
def test_a_job_is_submitted_from_a_file_options_and_assignments(
    tunesmith: Command, database: Database, tmp_path: Path
) -> None:
    dataset = given.ready_dataset(database)
    (tmp_path / "spec.json").write_text(
        json.dumps({"architecture": "resnet18", "weights": "none", "epochs": 1, "seed": 1})
    )
    options = ["--file", str(tmp_path / "spec.json"), "--dataset", dataset.id, "--name", "7"]
    options += ["--epochs", "2", "--learning-rate", '{"lowest": 1e-5, "highest": 1e-3}']

    code, out, err = tunesmith(
        "submit",
        "fine-tune",
        *options,
        "--set",
        "augment.flip=false",
        "--set",
        "epochs=3",
        "--json",
    )

    job = json.loads(out)
    asked = job["hyperparameters"]
    assert code == 0
    assert (asked["epochs"], asked["seed"], job["name"]) == (3, 1, "7")
    assert asked["augment"]["flip"] is False
    assert asked["learning_rate"] == {"lowest": 1e-5, "highest": 1e-3}
    assert f"tunesmith watch {job['id']}" in err


@pytest.mark.usefixtures("url")
def test_what_a_submitted_job_is_called_is_all_that_standard_output_has(
    tunesmith: Command, database: Database
) -> None:
    dataset = given.ready_dataset(database)
    options = ["--dataset", dataset.id, "--architecture", "resnet18", "--weights", "none"]

    _, out, _ = tunesmith("submit", "lr-find", *options)

    assert tunesmith("cancel", out.strip())[:2] == (0, f"{out.strip()} cancelled\n")


@pytest.mark.usefixtures("url")
def test_the_service_says_what_is_wrong_with_a_value(tunesmith: Command) -> None:
    code, out, err = tunesmith("submit", "fine-tune", "--batch-size", "many", "--set", "epoch=3")

    assert (code, out) == (2, "")
    assert '/batch_size: Input should be a valid integer (got "many")' in err
    assert '/epoch: there is no field "epoch"; did you mean epochs?' in err
    assert "/dataset: " in err


def test_a_wrong_command_line_ends_as_a_wrong_request(tunesmith: Command) -> None:
    assert tunesmith("jobs", "--url", "nowhere")[0] == 2
    assert tunesmith("jobs", "--stat", "queued")[0] == 2
    assert tunesmith("retry", "job_1", "--set", "epochs")[0] == 2


def test_a_service_that_is_not_there_is_unreachable(tunesmith: Command) -> None:
    code, _, err = tunesmith("jobs", "--url", "http://127.0.0.1:9")

    assert code == 5
    assert "tunesmith: http://127.0.0.1:9 cannot be reached" in err


@pytest.mark.usefixtures("url")
def test_what_does_not_exist_and_what_cannot_be_done_have_codes_of_their_own(
    tunesmith: Command, database: Database
) -> None:
    ended = given.succeeded(database, JobType.LR_FIND, given.ready_dataset(database), {})

    assert tunesmith("watch", "job_nothing")[0] == 6
    assert tunesmith("cancel", ended.id)[0] == 8
    assert tunesmith("download", ended.id)[0] == 1


@pytest.fixture
def keyed_url(settings: Settings) -> Iterator[str]:
    """The address of the application where it asks for keys."""
    with served(settings.model_copy(update={"auth": "keys"})) as url:
        yield url


def test_a_key_comes_from_a_file_or_the_environment(
    tunesmith: Command,
    keyed_url: str,
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secret = given.bearer(database)["Authorization"].removeprefix("Bearer ")
    (tmp_path / "key").write_text(f"{secret}\n")
    (tmp_path / "none").write_text("two words")
    asked = ["jobs", "--url", keyed_url]

    assert tunesmith(*asked)[0] == 7
    assert tunesmith(*asked, "--api-key-file", str(tmp_path / "key"))[0] == 0
    assert tunesmith(*asked, "--api-key-file", str(tmp_path / "none"))[0] == 2
    monkeypatch.setenv("TUNESMITH_API_KEY", secret)
    assert tunesmith(*asked)[0] == 0
    assert tunesmith(*asked, "--api-key", secret)[0] == 2


@pytest.mark.usefixtures("url")
def test_datasets_are_registered_from_folders_and_archives_and_shown(
    tunesmith: Command, settings: Settings, tmp_path: Path
) -> None:
    folder = settings.dataset_roots[0] / "pets"
    given.files(folder, *(f"{label}_{number}.jpg" for label in "ab" for number in range(4)))
    archive = tmp_path / "more.tar.zip"
    archive.write_bytes(a_zip([f"{label}/{number}.jpg" for label in "ab" for number in range(4)]))

    code, out, err = tunesmith("datasets", "register", str(folder), "--pattern", r"^(.)_\d\.jpg$")
    _, sent, _ = tunesmith(
        "datasets", "register", str(archive), "--labels", "parent_folder", "--json",
        "--set", "split.valid_fraction=0.5", "--set", "split.rule=random",
    )  # fmt: skip
    _, shown, _ = tunesmith("datasets", "show", out.strip())
    _, listed, _ = tunesmith("datasets", "list")

    assert code == 0
    assert "importing" in err
    dataset = json.loads(sent)
    assert (dataset["name"], dataset["source"]["type"]) == ("more.tar", "upload")
    assert dataset["split"]["valid_fraction"] == 0.5
    assert ["name", "pets"] in [line.split() for line in shown.splitlines()]
    assert [line.split()[0] for line in listed.splitlines()[2:]] == [dataset["id"], out.strip()]
    assert tunesmith("datasets", "show", out.strip(), "--report")[0] == 8


@pytest.mark.usefixtures("url")
def test_an_archive_that_is_not_there_is_said_in_one_line(tunesmith: Command) -> None:
    code, _, err = tunesmith("datasets", "upload", "/nowhere/pets.zip")

    assert code == 1
    assert err == "tunesmith: [Errno 2] No such file or directory: '/nowhere/pets.zip'\n"


@pytest.mark.usefixtures("url")
def test_the_worst_photos_are_a_table(
    tunesmith: Command, database: Database, artifacts: Artifacts
) -> None:
    job = given.evaluated(database, artifacts, given.ready_dataset(database))

    _, table, _ = tunesmith("samples", job.id, "--worst", "2")
    _, array, _ = tunesmith("samples", job.id, "--worst", "2", "--json")

    rows = json.loads(array)
    assert table.split("\n")[0].split() == ["#", "file", "target", "predicted", "p", "loss"]
    assert [line.split()[1] for line in table.splitlines()[2:]] == [row["path"] for row in rows]
    assert rows[0]["loss"] >= rows[1]["loss"]


@pytest.mark.usefixtures("url")
def test_results_are_saved_under_names_of_their_own(
    tunesmith: Command,
    database: Database,
    artifacts: Artifacts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = given.evaluated(database, artifacts, given.ready_dataset(database))
    monkeypatch.chdir(tmp_path)

    code, out, _ = tunesmith("download", job.id, "--format", "ndjson")

    assert (code, out) == (0, f"{job.id}-samples.ndjson\n")
    assert all(json.loads(line)["path"] for line in Path(out.strip()).read_text().splitlines())
    assert "confusion" in tunesmith("plot", job.id)[1].split()
    assert tunesmith("plot", job.id, "confusion", "-o", "confusion.gif")[0] == 2
    assert tunesmith("plot", job.id, "confusion")[0] == 5, "no worker is there to draw it"
    assert tunesmith("models", "--json")[1].startswith("[")


@pytest.mark.usefixtures("url")
def test_a_job_that_has_ended_is_watched_from_its_first_event(
    tunesmith: Command, database: Database
) -> None:
    failing = given.started(database, JobType.FINE_TUNE, given.ready_dataset(database))
    no_room = Failure(code="out_of_memory", message="no room for a batch", hint="halve it")
    leases.fail(database, failing.id, failing.fence, no_room)

    code, out, err = tunesmith("watch", failing.id)
    streamed, lines, _ = tunesmith("watch", failing.id, "--json")

    assert code == streamed == 3
    assert "no room for a batch (out_of_memory)" in out
    assert "  started" in err.splitlines()
    kinds = [json.loads(line)["type"] for line in lines.splitlines()]
    assert (kinds[0], kinds[-1]) == ("job.queued", "job.failed")


@pytest.mark.usefixtures("url")
def test_a_cancelled_job_has_a_code_of_its_own(tunesmith: Command, database: Database) -> None:
    job = given.queued(database, JobType.LR_FIND, given.ready_dataset(database))
    tunesmith("cancel", job.id)

    assert tunesmith("watch", job.id)[0] == 4
    code, again, _ = tunesmith("retry", job.id, "--set", "num_steps=40", "--json")
    assert (code, json.loads(again)["hyperparameters"]["num_steps"]) == (0, 40)


def test_a_reader_that_has_had_enough_is_no_error(url: str, database: Database) -> None:
    dataset = given.ready_dataset(database)
    for _ in range(3):
        given.queued(database, JobType.LR_FIND, dataset)
    command = [sys.executable, "-m", "cli.main", "jobs", "--url", url, "--json"]

    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
