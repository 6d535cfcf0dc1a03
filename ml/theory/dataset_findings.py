"""What is worth knowing of a dataset before a training is paid for: duplicates, leaks, imbalance.

Each finding has a code for programs, words for people, how often it occurs, examples, and what
can be done.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypedDict

from ml.theory.duplicates import same_pictures
from ml.theory.label_report import near_duplicates
from ml.theory.parts import Part

FEW_PHOTOS = 5
"""Photos to train on below which a class is said to have few."""
IMBALANCE = 5
"""Times that the largest class outnumbers the smallest one above which it is said."""
TINY_PX = 64
"""Short side below which a photo is tiny: any usual input size enlarges it several times."""
HUGE_PIXELS = 50_000_000

_EXAMPLES = 5
_GROUP = 10
_NAMED = 20
_LONG = 60
_PLAIN_MODES = frozenset({"RGB", "L"})
_MEND = "with POST /v1/datasets/{id}/versions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """One photo of a part; ``fingerprint`` is its perceptual hash of 64 bits, where it has one."""

    item_id: str
    path: str
    label: str
    split: Part
    width: int
    height: int
    mode: str
    digest: str
    fingerprint: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One kind of thing that was found ``count`` times.

    Each example names the files (or labels) that it is about together, at most ten of them;
    ``items`` are the ids of those files, in the same order, and nothing where labels are named.
    """

    code: str
    detail: str
    count: int
    hint: str
    examples: tuple[tuple[str, ...], ...] = field(default=())
    items: tuple[tuple[str, ...], ...] = field(default=())


def findings(photos: Sequence[Photo], *, have_labels: bool = True) -> list[Finding]:
    """Everything found, the graver first; without labels nothing that concerns a training."""
    groups = _groups(photos)
    if not have_labels:
        return [*_duplicates(photos, groups), *_sizes(photos), *_modes(photos)]
    looks: tuple[Callable[[], Iterable[Finding]], ...] = (
        lambda: _not_to_train_on(photos),
        lambda: _nothing_to_validate(photos),
        lambda: _leaks(groups),
        lambda: _contradictions(groups),
        lambda: _duplicates(photos, groups),
        lambda: _similar_labels(photos),
        lambda: _few(photos),
        lambda: _imbalance(photos),
        lambda: _sizes(photos),
        lambda: _modes(photos),
    )
    return [finding for look in looks for finding in look()]


# --- parts and classes ----------------------------------------------------------------------


def _not_to_train_on(photos: Sequence[Photo]) -> Iterable[Finding]:
    trained = {photo.label for photo in photos if photo.split == "train"}
    unseen = sorted({photo.label for photo in photos} - trained)
    if unseen:
        yield Finding(
            code="label_not_in_train",
            detail=f"labels without a photo to train on: {_named(unseen)}",
            count=len(unseen),
            hint=f"add photos of them to train, or relabel or exclude these {_MEND}",
            examples=_one_each(unseen),
        )


def _nothing_to_validate(photos: Sequence[Photo]) -> Iterable[Finding]:
    if not any(photo.split == "valid" for photo in photos):
        yield Finding(
            code="no_valid_part",
            detail="no photo is kept for validation, so there will be no ledger of losses",
            count=1,
            hint='split with the rule "random", or register it with photos in a part valid',
        )


def _similar_labels(photos: Sequence[Photo]) -> Iterable[Finding]:
    similar = near_duplicates({photo.label for photo in photos})
    if similar:
        pairs = "; ".join(
            " and ".join(map(_quoted, each.labels[:_GROUP])) for each in similar[:_EXAMPLES]
        )
        yield Finding(
            code="similar_labels",
            detail=f"labels that may be one class: {pairs}",
            count=len(similar),
            hint=f"if they are one class, relabel the photos of one of them {_MEND}",
            examples=tuple(each.labels[:_GROUP] for each in similar[:_EXAMPLES]),
        )


def _few(photos: Sequence[Photo]) -> Iterable[Finding]:
    trained = _to_train_on(photos)
    few = sorted(label for label, count in trained.items() if count < FEW_PHOTOS)
    if few:
        yield Finding(
            code="few_photos",
            detail=f"classes with fewer than {FEW_PHOTOS} photos to train on: {_named(few)}",
            count=len(few),
            hint="add photos of them; what is learned from so few is mostly chance",
            examples=_one_each(few),
        )


def _imbalance(photos: Sequence[Photo]) -> Iterable[Finding]:
    trained = _to_train_on(photos)
    if not trained:
        return
    (most, many), (least, few) = _most_and_least(trained)
    if many > IMBALANCE * few:
        yield Finding(
            code="class_imbalance",
            detail=f"{_quoted(most)} has {many} photos to train on, {_quoted(least)} has {few}",
            count=sum(many > IMBALANCE * count for count in trained.values()),
            hint='add photos of the small classes, or fine-tune with "class_weights": "balanced"',
            examples=((most, least),),
        )


def _to_train_on(photos: Sequence[Photo]) -> Counter[str]:
    return Counter(photo.label for photo in photos if photo.split == "train")


def _most_and_least(counts: Counter[str]) -> tuple[tuple[str, int], tuple[str, int]]:
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    return ordered[0], ordered[-1]


# --- the same picture more than once --------------------------------------------------------


def _groups(photos: Sequence[Photo]) -> list[list[Photo]]:
    """Photos that show one picture: the same bytes, or fingerprints that are near."""
    known = [photo for photo in photos if photo.fingerprint is not None]
    found = same_pictures([photo.fingerprint for photo in known if photo.fingerprint is not None])
    groups = [[known[position] for position in group] for group in found]
    rest = [photo for photo in photos if photo.fingerprint is None]
    return [*groups, *_same_bytes(rest)]


def _same_bytes(photos: Iterable[Photo]) -> list[list[Photo]]:
    by_digest: defaultdict[str, list[Photo]] = defaultdict(list)
    for photo in photos:
        by_digest[photo.digest].append(photo)
    return [group for group in by_digest.values() if len(group) > 1]


def _leaks(groups: Sequence[Sequence[Photo]]) -> Iterable[Finding]:
    leaking = [group for group in groups if len(_parts(group)) > 1 and "train" in _parts(group)]
    if leaking:
        yield Finding(
            code="train_valid_leak",
            detail=f"{len(leaking)} pictures are trained on and validated or tested on",
            count=len(leaking),
            hint=f"exclude all but one photo of each {_MEND}; until then the scores are too good",
            **_named_in(leaking),
        )


def _parts(group: Iterable[Photo]) -> set[Part]:
    return {photo.split for photo in group}


def _contradictions(groups: Sequence[Sequence[Photo]]) -> Iterable[Finding]:
    torn = [group for group in groups if len({photo.label for photo in group}) > 1]
    if torn:
        yield Finding(
            code="contradicting_labels",
            detail=f"{len(torn)} pictures have more than one label",
            count=len(torn),
            hint=f"look at them, then relabel or exclude what is wrong {_MEND}",
            **_named_in(torn),
        )


def _duplicates(photos: Sequence[Photo], groups: Sequence[Sequence[Photo]]) -> Iterable[Finding]:
    exact = _same_bytes(photos)
    if exact:
        yield Finding(
            code="exact_duplicates",
            detail=f"{sum(map(len, exact))} files are {len(exact)} pictures, byte for byte",
            count=sum(len(group) - 1 for group in exact),
            hint=f"exclude all but one of each {_MEND}",
            **_named_in(exact),
        )
    near = [group for group in groups if len({photo.digest for photo in group}) > 1]
    if near:
        yield Finding(
            code="near_duplicates",
            detail=f"{len(near)} pictures lie here in several sizes, qualities or brightnesses",
            count=sum(len({photo.digest for photo in group}) - 1 for group in near),
            hint=f"look at them, then exclude all but the best of each {_MEND}",
            **_named_in(near),
        )


# --- sizes and modes ------------------------------------------------------------------------


def _sizes(photos: Sequence[Photo]) -> Iterable[Finding]:
    tiny = [photo for photo in photos if min(photo.width, photo.height) < TINY_PX]
    if tiny:
        yield Finding(
            code="tiny_images",
            detail=f"{len(tiny)} photos have a short side below {TINY_PX} px",
            count=len(tiny),
            hint=f"they are enlarged for the network; exclude thumbnails and icons {_MEND}",
            **_named_in([photo] for photo in tiny),
        )
    huge = [photo for photo in photos if photo.width * photo.height > HUGE_PIXELS]
    if huge:
        yield Finding(
            code="huge_images",
            detail=f"{len(huge)} photos have more than {HUGE_PIXELS:,} pixels",
            count=len(huge),
            hint="they cost time and memory once, when they are presized; smaller files do as well",
            **_named_in([photo] for photo in huge),
        )


def _modes(photos: Sequence[Photo]) -> Iterable[Finding]:
    odd = [photo for photo in photos if photo.mode not in _PLAIN_MODES]
    if odd:
        modes = Counter(photo.mode for photo in odd).most_common()
        yield Finding(
            code="unusual_modes",
            detail=f"photos that are not plain RGB or grey: {_counted(modes)}",
            count=len(odd),
            hint="they are converted: transparency is laid over white, 16 bits become 8, "
            "CMYK and palettes become RGB; see that they look right",
            **_named_in([photo] for photo in odd),
        )


# --- words ----------------------------------------------------------------------------------


def _counted(modes: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{count} {mode}" for mode, count in modes)


def _named(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - _NAMED} more" if len(labels) > _NAMED else ""
    return ", ".join(_quoted(label) for label in labels[:_NAMED]) + more


def _quoted(label: str) -> str:
    """The label for a sentence, of a long one the beginning; control characters are escaped."""
    return repr(label if len(label) <= _LONG else f"{label[:_LONG]}…")


def _one_each(names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    return tuple((name,) for name in names[:_EXAMPLES])


class _Names(TypedDict):
    examples: tuple[tuple[str, ...], ...]
    items: tuple[tuple[str, ...], ...]


def _named_in(groups: Iterable[Sequence[Photo]]) -> _Names:
    """The first groups of photos, by their paths and by their ids."""
    shown = [group[:_GROUP] for group in islice(groups, _EXAMPLES)]
    return _Names(
        examples=tuple(tuple(photo.path for photo in group) for group in shown),
        items=tuple(tuple(photo.item_id for photo in group) for group in shown),
    )
