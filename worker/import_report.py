"""What an import found, as the dataset tells it: counts, classes, sizes, faults and warnings."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from jobs.datasets import ImportOutcome
from ml.theory.dataset_findings import Finding, Photo, findings
from ml.theory.parts import PARTS, Part, shortage
from worker.failures import JobFailedError
from worker.items import UNLABELLED, Item
from worker.left_out import LeftOut

_SHOWN = 1000
_EXAMPLES = 5


def outcome_of(
    items: Sequence[Item],
    *,
    left_out: Sequence[LeftOut] = (),
    changes: Mapping[str, Any] | None = None,
) -> ImportOutcome:
    """Digest, counts, classes and report of all items; at least one has a part.

    ``changes`` is what a version differs in from its parent.
    """
    used = [item for item in items if item.split is not None]
    classes = Counter(item.label for item in used if item.label is not None)
    parts = Counter(str(item.split) for item in used)
    counts: dict[str, int] = {
        "files": len(items),
        "usable": sum(item.usable for item in items),
        **{part: parts[part] for part in PARTS},
        "classes": len(classes),
    }
    return ImportOutcome(
        digest=_digest(used),
        counts=counts,
        classes=[{"label": label, "count": classes[label]} for label in sorted(classes)],
        report={
            **_report(items, counts),
            "left_out": [asdict(each) for each in left_out],
            "changes": changes,
        },
    )


def refuse_too_little(items: Sequence[Item]) -> None:
    """The items can be trained on, or, without any label, looked at.

    Raises:
        JobFailedError: they are too few, or of one class.
    """
    lack = shortage([item.label for item in items], [item.split for item in items])
    if lack is not None:
        raise JobFailedError(lack.code, lack.message, lack.remedy)


def _digest(items: Iterable[Item]) -> str:
    """SHA-256 over all that decides a training: names, bytes, labels, parts."""
    digest = hashlib.sha256()
    for item in items:
        line = "\0".join([item.path, str(item.digest), str(item.label), str(item.split)])
        digest.update(line.encode("utf-8", "surrogateescape") + b"\n")
    return f"sha256:{digest.hexdigest()}"


def _report(items: Sequence[Item], counts: dict[str, int]) -> dict[str, Any]:
    unmatched = [item.path for item in items if item.reason == UNLABELLED]
    unreadable = [item for item in items if not item.usable and item.reason != UNLABELLED]
    return {
        **{name: counts[name] for name in ("files", "usable")},
        "counts": {part: counts[part] for part in PARTS},
        "unreadable": [{"path": item.path, "reason": item.reason} for item in unreadable[:_SHOWN]],
        "unmatched": {"count": len(unmatched), "examples": unmatched[:_EXAMPLES]},
        "sizes": _sizes([item for item in items if item.usable]),
        "warnings": list(_warnings(items, unreadable)),
    }


def _sizes(items: Sequence[Item]) -> dict[str, int]:
    widths = [item.width for item in items if item.width is not None]
    heights = [item.height for item in items if item.height is not None]
    return {
        "min_width": min(widths),
        "max_width": max(widths),
        "min_height": min(heights),
        "max_height": max(heights),
    }


def _warnings(items: Sequence[Item], unreadable: Sequence[Item]) -> Iterable[dict[str, Any]]:
    photos = [_photo(item, item.split) for item in items if item.split is not None]
    found = findings(photos, have_labels=any(item.label is not None for item in items))
    if unreadable:
        found.insert(0, _unreadable(unreadable))
    return (
        {**asdict(finding), "examples": list(finding.examples), "items": list(finding.items)}
        for finding in found
    )


def _unreadable(unreadable: Sequence[Item]) -> Finding:
    return Finding(
        code="unreadable_images",
        detail=f"{len(unreadable)} files cannot be read and are left out",
        count=len(unreadable),
        hint="mend or remove them; each is listed under unreadable with its reason",
        examples=tuple((item.path,) for item in unreadable[:_EXAMPLES]),
        items=tuple((item.item_id,) for item in unreadable[:_EXAMPLES]),
    )


def _photo(item: Item, split: Part) -> Photo:
    return Photo(
        item_id=item.item_id,
        path=item.path,
        label=str(item.label),
        split=split,
        width=int(item.width or 0),
        height=int(item.height or 0),
        mode=str(item.mode),
        digest=str(item.digest),
        fingerprint=item.fingerprint,
    )
