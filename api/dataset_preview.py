"""A dry run of registering a dataset: what its names would make of it, without any import."""

from api.label_rules import check_rule
from api.problems import Problem
from api.schemas.dataset_plans import DatasetPlan, Obstacle
from api.source_check import Listing, Reading, check_names, listing_of
from jobs.dataset_spec import (
    DatasetSpec,
    ParentFolderLabels,
    RegexLabels,
    StoreSource,
    UrlSource,
)
from jobs.settings import Settings
from ml.theory.label_report import LabelsExplanation, explain_labels, report_labels

_EXAMPLES = 20
_NOTHING = Listing([], False, "the source")
_ELSEWHERE = (
    "what lies at this address is not known before the import: a worker fetches it then, and fails "
    "with the codes that a request is refused with"
)

_TOO_MUCH = (
    "its names, or its files of labels, are more than an answer has the time to read; the import "
    "reads them all, and fails with the codes that a request is refused with"
)


def preview(request: DatasetSpec, settings: Settings) -> DatasetPlan:
    """Labels, classes and parts of the names that can be listed in at most 2 s.

    Raises:
        Problem: the source or the label rule cannot be used at all.
    """
    listing = listing_of(request, settings) or _NOTHING
    read = Reading(request, listing)
    obstacles = _obstacles(read, settings)
    explained = _explained(read)
    missed = [item.name for item in explained.items if item.reason is not None]
    return DatasetPlan.model_validate(
        {
            "names": len(listing.names),
            "is_complete": listing.is_complete,
            "matched": explained.matched,
            "unmatched": {"count": len(missed), "examples": missed[:_EXAMPLES]},
            "classes": explained.classes,
            "counts": read.counts,
            "examples": explained.items[:_EXAMPLES],
            "near_duplicates": explained.near_duplicates,
            "hint": explained.hint,
            "obstacles": obstacles,
            "note": _note(request) if listing is _NOTHING else None,
        },
        from_attributes=True,
    )


def _note(request: DatasetSpec) -> str:
    """Why nothing is known of the names."""
    return _ELSEWHERE if isinstance(request.source, UrlSource | StoreSource) else _TOO_MUCH


def _obstacles(read: Reading, settings: Settings) -> list[Obstacle]:
    """What the names fall short of; what is wrong with the rule itself is raised."""
    if read.listing is _NOTHING:
        check_rule(read.request)
        return []
    try:
        check_names(read, settings)
    except Problem as problem:
        if problem.code in {"invalid_regex", "regex_no_group", "label_file_invalid"}:
            raise
        (field,) = problem.errors
        return [Obstacle(code=problem.code, detail=problem.detail, pointer=field.pointer)]
    return []


def _explained(read: Reading) -> LabelsExplanation:
    labels, names = read.request.labels, read.listing.names
    if isinstance(labels, RegexLabels):
        return explain_labels(names, pattern=labels.pattern, on=labels.on, group=labels.group)
    if isinstance(labels, ParentFolderLabels):
        return explain_labels(names, rule=labels.rule)
    # without a listing its files are not known either
    return report_labels(names, [] if read.listing is _NOTHING else read.labels)
