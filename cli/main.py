"""The `tunesmith` command."""

import contextlib
import os
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from cli import background, backup, keys
from cli.client import ProblemError
from cli.demo import DemoData, DemoFailedError, DemoTraining, run_demo
from cli.doctor import doctor
from cli.folder_lock import FolderInUseError
from cli.gc import gc
from cli.processes import ChildKeepsDyingError
from cli.redis_server import RedisMissingError
from cli.stack import Stack, StackError
from jobs.errors import JobsError
from jobs.settings import DEFAULT_DATA_DIR, SettingsError

_SAID_IN_ONE_LINE = (
    background.BackgroundError,
    ChildKeepsDyingError,
    DemoFailedError,
    FolderInUseError,
    JobsError,
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
app.add_typer(keys.app, name="keys")
app.command()(keys.migrate)
app.command()(gc)
app.command()(doctor)
app.command()(backup.export_job)
app.command("restore")(backup.restore_artifacts)


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
    wait: Annotated[
        bool, typer.Option("--wait", help="run in the background; return when it is ready")
    ] = False,
    ready_to: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run the whole stack in this terminal: Redis, the API and the workers."""
    roots = tuple(dataset_root or ())
    if wait:
        _up_in_background(port, data_dir, roots)
        return
    stack = Stack(data_dir, port=port, dataset_roots=roots, report=_say)
    ended: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _: ended.append(received))
    with stack:
        stack.wait_until_ready(stopped=lambda: bool(ended))
        if not ended:
            _say(f"tunesmith is up; docs: {stack.url}/docs   data: {data_dir}   Ctrl-C ends it")
            _tell(ready_to, stack.url)
        while not ended:
            stack.tend()
            time.sleep(0.2)
        _say("ending; running jobs go back to the queue")
    _say("ended")


@app.command()
def down(
    data_dir: Annotated[
        Path, typer.Option(help="folder that the stack runs on")
    ] = DEFAULT_DATA_DIR,
) -> None:
    """End the stack that runs on a folder; running jobs go back to the queue."""
    ended = background.end(data_dir.expanduser())
    print(f"no stack runs on {data_dir}" if ended is None else f"ended (process {ended})")


@app.command()
def api() -> None:
    """Run the API alone, with the settings of the environment."""
    _become("api.main")


@app.command()
def worker(
    queue: Annotated[str, typer.Option(help="train, prepare or predict")] = "train",
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


def _up_in_background(port: int, data_dir: Path, dataset_roots: tuple[Path, ...]) -> None:
    folder = data_dir.expanduser().absolute()
    arguments = ["--port", str(port), "--data-dir", str(folder)]
    for root in dataset_roots:
        arguments += ["--dataset-root", str(root)]
    url = background.start_up(arguments, folder / "logs" / "up.log")
    option = "" if data_dir == DEFAULT_DATA_DIR else f" --data-dir {shlex.quote(str(folder))}"
    _say(f"tunesmith is up; docs: {url}/docs   data: {folder}   `tunesmith down{option}` ends it")


def _tell(descriptor: int | None, url: str) -> None:
    if descriptor is not None:
        # whoever waited may be gone
        with contextlib.suppress(BrokenPipeError), os.fdopen(descriptor, "w") as waiting:
            print(url, file=waiting)


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
