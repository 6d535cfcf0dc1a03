"""A job on the way, as bars and lines: what `watch` and the demo show of its events."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from cli import show
from tunesmith_client import Event, Json

_NAME_WIDTH = 10


@contextmanager
def job_bars(console: Console) -> Iterator["JobBars"]:
    """Bars on a terminal, lines of text anywhere; the bars stay when they are left."""
    with Progress(
        TextColumn("{task.description:<" + str(_NAME_WIDTH) + "}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[count]}", justify="right"),
        TextColumn("{task.fields[numbers]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(elapsed_when_finished=False),
        console=console,
        disable=not console.is_terminal,
    ) as progress:
        yield JobBars(progress)


class JobBars:
    """One bar per phase, moved by the events of a job."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {}
        self._said: Mapping[str, Callable[[Json], str]] = {
            "job.started": _started,
            "job.epoch_completed": show.epoch_line,
            "job.warning": lambda data: f"  warning {data['code']}: {data['detail']}",
            "job.requeued": _requeued,
            "job.paused": lambda _: "  paused; resume goes on from the checkpoint",
            "job.resumed": lambda _: "  resumed",
            "job.stop_requested": lambda _: "  stopping after the current step",
            "job.cancelling": lambda _: "  cancelling",
        }

    def take(self, event: Event) -> None:
        """The job has gone on by this event."""
        if event.type == "job.progress":
            self._move(event.data)
        elif event.type in self._said:
            self.say(self._said[event.type](event.data))

    def say(self, line: str) -> None:
        """One line above the bars."""
        self._progress.console.print(Text(line), highlight=False, soft_wrap=True)

    def broken(self, reason: str) -> None:
        """The connection is gone and will be made again."""
        self.say(f"  connection lost ({reason}); trying again")

    def _move(self, data: Json) -> None:
        told = data["progress"]
        done, total, count = _amount(told)
        if not total:
            return
        phase = "training" if told.get("epochs") else told["phase"] or "working"
        if phase not in self._bars:
            self._bars[phase] = self._progress.add_task(phase, total=total, count="", numbers="")
        loss = data["latest"].get("train_loss")
        self._progress.update(
            self._bars[phase],
            completed=done,
            total=total,
            count=count,
            numbers="" if loss is None else f"loss {loss:.3f}",
        )


def _amount(told: Json) -> tuple[int, int | None, str]:
    """What is done and what there is to do, in steps or else in bytes."""
    if told.get("steps"):
        return told["step"] or 0, told["steps"], f"{told['step'] or 0}/{told['steps']}"
    done, total = told.get("bytes") or 0, told.get("total_bytes")
    return done, total, show.bytes_text(done)


def _started(data: Json) -> str:
    return "  started" if data["attempt"] == 1 else f"  started, attempt {data['attempt']}"


def _requeued(data: Json) -> str:
    why = f" after {data['message']}" if data.get("message") else ""
    return f"  back in the queue{why}; another attempt goes on from step {data['checkpoint_step']}"
