"""The main job from nothing: photos, learning rate, fine-tune, worst samples, over HTTP alone."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli import show
from cli.remote.progress import job_bars
from cli.stack import Stack
from jobs.sources import sample
from tunesmith_client import Client, Json
from tunesmith_client.jobs import succeeded


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


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoData:
    """The user's photos, or none: then the service draws some."""

    folder: Path | None
    pattern: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoTraining:
    """How the demo trains; ``weights`` is a torchvision name, a file or ``none``."""

    architecture: str
    weights: str
    epochs: int | None = None

    @property
    def from_nothing(self) -> bool:
        """Whether the network starts with random weights."""
        return self.weights == "none"

    def body(self, dataset_id: str) -> Json:
        """What the range test and the fine-tune have in common."""
        path = Path(self.weights)
        weights = {"path": str(path.absolute())} if path.is_file() else self.weights
        sizes = _SMALL if self.from_nothing else _CUSTOMARY
        return {
            "dataset": dataset_id,
            "architecture": self.architecture,
            "weights": weights,
            **sizes,
        }

    def lr_find(self, dataset_id: str) -> Json:
        """The body of the range test."""
        # a random network learns little in a hundred small steps, and nothing below 1e-5
        wider = {"sweep": "all", "start_lr": 1e-5, "end_lr": 1.0, "num_steps": 200}
        return self.body(dataset_id) | (wider if self.from_nothing else {})

    def fine_tune(self, dataset_id: str, found_by: str) -> Json:
        """The body of the fine-tune at the rate that the range test recommends."""
        # random layers have nothing worth freezing or sparing
        plan: Json = (
            {"epochs": self.epochs or 16, "freeze_epochs": 0, "discriminative": "off"}
            if self.from_nothing
            else {"epochs": self.epochs or 3, "freeze_epochs": 1}
        )
        rate = {"from_job": found_by, "rule": "recommended"}
        return self.body(dataset_id) | plan | {"learning_rate": rate}


_SMALL: Json = {"size": 96, "presize": 128, "batch_size": 16}
_CUSTOMARY: Json = {"size": 224, "presize": 460, "batch_size": 32}


def run_demo(data: DemoData, training: DemoTraining) -> None:
    """Everything has been shown and nothing is left running.

    Raises:
        JobFailedError: a job failed; the message says why.
        ProblemError: the service refused a request.
        StackError: the stack does not start.
    """
    console = Console()
    roots = (data.folder.expanduser().absolute(),) if data.folder else ()
    if Path(training.weights).is_file():
        roots = (*roots, Path(training.weights).absolute().parent)
    with tempfile.TemporaryDirectory(prefix="tunesmith-demo-") as folder:
        console.print(f"Starting the stack in {folder}: Redis, API and three workers …")
        report = console.print
        private = Stack(Path(folder), port=0, dataset_roots=roots, report=report, is_private=True)
        with private as stack:
            stack.wait_until_ready()
            console.print(f"Docs page while this runs: {stack.url}/docs")
            with Client(stack.url) as client:
                _Demo(client, console, training).run(data)
    console.print(
        "Done; the stack has ended and its folder is gone. "
        "[bold]tunesmith up[/bold] keeps one running, with its docs page at /docs.",
        highlight=False,
    )


class _Demo:
    """The steps of the demo, each one request and the watching of its job."""

    def __init__(self, client: Client, console: Console, training: DemoTraining) -> None:
        self._client = client
        self._console = console
        self._training = training

    def run(self, data: DemoData) -> None:
        dataset = self._dataset(data)
        found = self._lr_find(dataset["id"])
        job = self._fine_tune(dataset["id"], found)
        self._worst(job, shown={} if data.folder else _drawn_otherwise())

    def _dataset(self, data: DemoData) -> Json:
        self._heading("1. A dataset, labelled by a regular expression")
        source: Json = (
            {"type": "path", "path": str(data.folder.expanduser().absolute())}
            if data.folder
            else {"type": "sample"}
        )
        body = {
            "name": "demo",
            "source": source,
            "labels": {"rule": "regex", "pattern": data.pattern},
            "split": {"rule": "random", "valid_fraction": 0.2, "seed": 42},
        }
        dataset = self._create("/v1/datasets", body)
        self._watch(dataset["job_id"])
        dataset = self._client.get(f"/v1/datasets/{dataset['id']}")
        self._console.print(show.dataset_line(dataset))
        return dataset

    def _lr_find(self, dataset_id: str) -> Json:
        self._heading("2. The learning-rate finder")
        job = self._create("/v1/lr-finds", self._training.lr_find(dataset_id))
        self._watch(job["id"])
        curve = self._client.get(f"/v1/jobs/{job['id']}/lr-curve")
        self._console.print(show.suggestions_table(curve))
        self._console.print(show.recommendation_line(curve))
        return job

    def _fine_tune(self, dataset_id: str, found: Json) -> Json:
        self._heading("3. Fine-tuning at the recommended rate")
        job = self._create("/v1/fine-tunes", self._training.fine_tune(dataset_id, found["id"]))
        self._watch(job["id"])
        return self._client.get(f"/v1/jobs/{job['id']}")

    def _worst(self, job: Json, *, shown: dict[str, str]) -> None:
        self._heading("4. Where the loss is: the five worst photos")
        page = self._client.get(f"/v1/jobs/{job['id']}/samples", sort="-loss", limit=5)
        for row in page["data"]:
            self._console.print(show.sample_lines(row), highlight=False)
            if row["path"] in shown:
                drawn = shown[row["path"]]
                self._console.print(f"   mislabelled on purpose: the photo shows a {drawn}")
        self._console.print(show.aggregate_line(page["aggregate"], job))

    def _create(self, path: str, body: Json) -> Json:
        self._console.print(f"POST {path} {show.one_line(body)}", highlight=False, markup=False)
        return self._client.post(path, body)

    def _watch(self, job_id: str) -> None:
        with job_bars(self._console) as bars:
            for event in self._client.jobs.events(job_id, on_break=bars.broken):
                bars.take(event)
        succeeded(self._client.jobs.get(job_id))

    def _heading(self, text: str) -> None:
        self._console.print()
        self._console.rule(f"[bold]{text}", align="left")


def _drawn_otherwise() -> dict[str, str]:
    """Names of sample photos that say another class than the one they show, and that class."""
    return {photo.name: photo.drawn_class for photo in sample.sample_plan() if photo.is_mislabelled}
