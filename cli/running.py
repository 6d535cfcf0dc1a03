"""Commands that run the processes of a service on this machine."""

import contextlib
import os
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from cli import background
from cli.command_error import CommandError
from cli.stack import Stack, queue_options
from jobs import device_list
from jobs.settings import DEFAULT_DATA_DIR


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


def down(
    data_dir: Annotated[
        Path, typer.Option(help="folder that the stack runs on")
    ] = DEFAULT_DATA_DIR,
) -> None:
    """End the stack that runs on a folder; running jobs go back to the queue."""
    ended = background.end(data_dir.expanduser())
    print(f"no stack runs on {data_dir}" if ended is None else f"ended (process {ended})")


def api() -> None:
    """Run the API alone, with the settings of the environment."""
    _become("api.main")


def worker(
    queue: Annotated[
        list[str] | None,
        typer.Option(help="train (the default), prepare or predict; repeat it for several"),
    ] = None,
    devices: Annotated[
        str,
        typer.Option(
            help="numbers of the devices that a train worker owns, such as 0-3 or 0,2, and that a "
            "job may share; on the CPU they only count"
        ),
    ] = "",
) -> None:
    """Run one worker process alone, with the settings of the environment."""
    queues = queue or ["train"]
    asked = queue_options(queues)
    if not devices:
        _become("worker.app", *asked)
    if "train" not in queues:
        owners = " and ".join(queues)
        raise CommandError(f"--devices is for train workers; a {owners} worker owns none")
    try:
        device_list.parsed(devices)
    except ValueError as problem:
        raise CommandError(f"--devices: {problem}") from problem
    _become("worker.app", *asked, "--devices", devices)


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


def _become(module: str, *arguments: str) -> NoReturn:
    os.execv(  # noqa: S606 - this very interpreter, no shell
        sys.executable, [sys.executable, "-m", module, *arguments]
    )


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)
