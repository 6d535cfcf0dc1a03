"""What stands above a plot: what it shows, of which job, architecture and dataset."""

from jobs import datasets, models
from jobs.database import Database
from jobs.errors import NotFoundError
from jobs.job import Job, JobState, JobType
from jobs.spec import ExportSpec
from worker.plots.theme import Heading, shortened

_TITLES = {
    "lr-curve": "Learning-rate range test",
    "loss-curve": "Loss curve",
    "lr-schedule": "Learning rates and momentum",
    "confusion": "Confusion matrix",
    "top-losses": "Largest losses",
    "calibration": "Calibration",
    "presizing-preview": "Presizing preview",
}
_LONGEST_NAME = 40


def heading_of(database: Database, shown: Job, spec: ExportSpec) -> Heading:
    """The heading of this plot of this job; what was deleted meanwhile is left out."""
    title = _TITLES[spec.plot]
    if shown.name:
        title = f"{title} · {shortened(shown.name, _LONGEST_NAME)}"
    known = [_subject(database, shown), _dataset(database, shown), _state(shown)]
    return Heading(title, (" · ".join(part for part in known if part),))


def _subject(database: Database, shown: Job) -> str:
    if shown.type == JobType.PRESIZING_PREVIEW:
        return f"stored at {shown.spec['presize']} px, seen at {shown.spec['size']} px"
    if shown.type != JobType.EVALUATION:
        return str(shown.spec["architecture"])
    try:
        model = models.get(database, shown.spec["model"])
    except NotFoundError:
        return ""
    return f"evaluation of {model.architecture}"


def _dataset(database: Database, shown: Job) -> str:
    if shown.dataset_id is None:
        return ""
    try:
        dataset = datasets.get(database, shown.dataset_id)
    except NotFoundError:
        return ""
    classes = (dataset.counts or {}).get("classes")
    known = f"dataset {shortened(dataset.name, _LONGEST_NAME)}"
    return known if classes is None else f"{known} ({classes} classes)"


def _state(shown: Job) -> str:
    """How far the job is, unless it has succeeded."""
    if shown.state == JobState.SUCCEEDED:
        return ""
    progress = shown.progress or {}
    if shown.is_terminal or progress.get("step") is None or progress.get("steps") is None:
        return shown.state.value
    return f"{shown.state.value}, step {progress['step']} of {progress['steps']}"
