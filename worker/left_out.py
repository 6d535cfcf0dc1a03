"""What a source has beside photos: counted while it is unpacked or copied, and recorded."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

from jobs.artifacts import published
from jobs.sources.archive_names import shown
from jobs.sources.paths import printable

_EXAMPLES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Members of one kind that are no photos, or are never written."""

    reason: str
    count: int
    examples: Sequence[str]


class Tally:
    """Counts what is left out, by its reason."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def add(self, reason: str, name: str) -> None:
        """One more is left out."""
        self._counts[reason] += 1
        examples = self._examples.setdefault(reason, [])
        if len(examples) < _EXAMPLES:
            examples.append(printable(name))

    def left_out(self) -> list[LeftOut]:
        """What was counted, most frequent first."""
        return [
            LeftOut(reason=reason, count=count, examples=self._examples[reason])
            for reason, count in self._counts.most_common()
        ]


def record(file: Path, found: Sequence[LeftOut]) -> None:
    """The file says what was left out."""
    with published(file) as temporary:
        temporary.write_text(json.dumps([asdict(each) for each in found]))


def left_out(file: Path) -> list[LeftOut]:
    """What was recorded; nothing where nothing was."""
    if not file.exists():
        return []
    return [LeftOut(**each) for each in json.loads(file.read_text())]


def in_words(found: Sequence[LeftOut]) -> str:
    """How many members were left out, and why."""
    words: Mapping[str, str] = {
        "hidden": "hidden",
        "not_a_photo": "no photos",
        "link": "links",
        "special": "devices or pipes",
    }
    counts = ", ".join(f"{each.count} {words[each.reason]}" for each in found)
    examples = list(chain.from_iterable(each.examples for each in found))[:_EXAMPLES]
    return f"{counts} (such as {', '.join(map(shown, examples))})"
