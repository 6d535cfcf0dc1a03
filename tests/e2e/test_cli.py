"""The command line against a whole stack: from photos to a model that is asked about a photo."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.main import main
from cli.stack import Stack
from tests.e2e.conftest import TINY

pytestmark = pytest.mark.e2e

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tunesmith(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """The command line, asking the stack: exit code, standard output and standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["tunesmith", *arguments])
        monkeypatch.setenv("TUNESMITH_URL", stack.url)
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def test_photos_become_a_model_that_is_asked_about_a_photo(
    tunesmith: Command, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.json").write_text(json.dumps(TINY | {"freeze_epochs": 0, "epochs": 2}))

    imported = tunesmith(
        "datasets", "register", str(photos), "--pattern", r"^(.+)_\d+\.jpg$", "--watch"
    )
    dataset = json.loads(tunesmith("datasets", "list", "--json")[1])[0]["id"]
    submit = ["submit", "fine-tune", "--file", "tiny.json", "--dataset", dataset]
    trained = tunesmith(*submit, "--discriminative", "off", "--watch")
    job = json.loads(tunesmith("jobs", "--type", "fine_tune", "--json")[1])[0]
    rows = json.loads(tunesmith("samples", job["id"], "--worst", "3", "--json")[1])
    saved = tunesmith("download", job["id"])
    drawn = tunesmith("plot", job["id"], "loss-curve")
    photo = photos / "red_0.jpg"
    predicted = tunesmith("predict", job["model_id"], str(photo), "--json")

    assert imported[0] == trained[0] == saved[0] == drawn[0] == predicted[0] == 0
    assert "24 of 24 files can be used" in imported[1]
    assert job["model_id"] in trained[1]
    assert [line.split()[1] for line in trained[2].splitlines() if "epoch " in line] == ["0", "1"]
    assert len(rows) == 3
    assert Path(saved[1].strip()).stat().st_size > 0
    assert Path(drawn[1].strip()).read_text().startswith("<svg")
    answer = json.loads(predicted[1])
    assert answer["file"] == str(photo)
    assert {guess["label"] for guess in answer["top"]} == {"red", "blue"}


def test_a_sweep_shows_its_suggestions_when_it_ends(tunesmith: Command, photos: Path) -> None:
    dataset = {
        "name": "tiny",
        "source": {"type": "path", "path": str(photos)},
        "labels": {"rule": "regex", "pattern": r"^(.+)_\d+\.jpg$"},
    }
    fields = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]

    code, out, _ = tunesmith(
        "submit", "lr-find", *fields, "--watch", "--dataset", json.dumps(dataset), "--num-steps=25"
    )

    assert code == 0
    assert "minimum_over_10" in out
    assert "recommended: " in out
