"""The `tunesmith` command."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from cli.client import ProblemError
from cli.demo import DemoData, DemoFailedError, DemoTraining, run_demo
from cli.processes import ChildKeepsDyingError
from cli.redis_server import RedisMissingError
from cli.stack import Stack, StackError
from jobs.settings import DEFAULT_DATA_DIR, SettingsError

_SAID_IN_ONE_LINE = (
    ChildKeepsDyingError,
    DemoFailedError,
    ProblemError,
    RedisMissingError,
    SettingsError,
    StackError,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Find learning rates, fine-tune image classifiers and see where every bit of loss is.",
)


@app.command()
def up(
    port: Annotated[int, typer.Option(help="port of the API; 0 picks a free one")] = 8000,
    data_dir: Annotated[
        Path, typer.Option(help="folder of the database, artifacts and logs")
    ] = DEFAULT_DATA_DIR,
    dataset_root: Annotated[
        list[Path] | None,
        typer.Option(help="folder that datasets may be read from; repeatable"),
    ] = None,
) -> None:
    """Run the whole stack in this terminal: Redis, the API and the workers."""
    ended: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: ended.append(received))
    stack = Stack(data_dir, port=port, dataset_roots=tuple(dataset_root or ()), report=_say)
    with stack:
        stack.wait_until_ready(stopped=lambda: bool(ended))
        if not ended:
            _say(f"tunesmith is up; docs: {stack.url}/docs   data: {data_dir}   Ctrl-C ends it")
        while not ended:
            stack.tend()
            time.sleep(0.2)
        _say("ending; running jobs go back to the queue")
    _say("ended")


@app.command()
def api() -> None:
    """Run the API alone, with the settings of the environment."""
    _become("api.main")


@app.command()
def worker(
    queue: Annotated[str, typer.Option(help="train or prepare")] = "train",
) -> None:
    """Run one worker alone, with the settings of the environment."""
    _become("worker.app", "--queue", queue)


@app.command()
def demo(
    data: Annotated[
        Path | None, typer.Option(help="folder of your photos; absent: photos are drawn")
    ] = None,
    pattern: Annotated[
        str, typer.Option(help="regular expression whose first group is the label")
    ] = r"^(.+)_\d+\.jpg$",
    arch: Annotated[str, typer.Option(help="torchvision's name of the network")] = "resnet18",
    weights: Annotated[
        str | None,
        typer.Option(help="DEFAULT, a torchvision name, a file or none; absent: fits the photos"),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="unfrozen epochs")] = None,
) -> None:
    """Run the main job from nothing to a fine-tuned model, over HTTP, and clean up."""
    fitting = "none" if data is None else "DEFAULT"
    run_demo(
        DemoData(folder=data, pattern=pattern),
        DemoTraining(architecture=arch, weights=weights or fitting, epochs=epochs),
    )


def _become(module: str, *arguments: str) -> None:
    os.execv(  # noqa: S606 - this very interpreter, no shell
        sys.executable, [sys.executable, "-m", module, *arguments]
    )


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def main() -> None:
    """The command line; what cannot be done is said in one line, with exit code 1."""
    try:
        app()
    except _SAID_IN_ONE_LINE as problem:
        print(f"tunesmith: {problem}", file=sys.stderr)
        raise SystemExit(1) from problem


if __name__ == "__main__":
    main()
