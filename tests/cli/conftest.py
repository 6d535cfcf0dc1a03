"""The command line as it is called, and the application that its commands ask."""

from collections.abc import Callable, Iterator

import pytest

from cli.main import main
from jobs.settings import Settings
from tests.served import served

Said = tuple[int, str, str]
Command = Callable[..., Said]


@pytest.fixture
def tunesmith(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line: exit code, standard output and standard error."""

    def run(*arguments: str) -> Said:
        monkeypatch.setattr("sys.argv", ["tunesmith", *arguments])
        # what a test has logged before is not said by the command
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


@pytest.fixture
def url(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the application, without workers; commands ask it."""
    with served(settings) as url:
        monkeypatch.setenv("TUNESMITH_URL", url)
        yield url
