"""The documentation as data: pages, their links, code blocks, commands and claimed answers."""

import itertools
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from string import Template
from typing import Any

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
LEFT_OUT = "…"

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block with its language, and the block that follows it with nothing between."""

    language: str
    text: str
    answer: "Block | None" = None


@dataclass(frozen=True, slots=True)
class Command:
    """One curl command of a page; ``$NAMES`` are still in it."""

    page: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: str | None
    answer: Any
    """The JSON that the page shows behind it, as `elided` reads it; None without one."""
    output: str | None = None
    """The file that the answer is kept in; None where it is shown."""

    def __str__(self) -> str:
        """Where it stands and what it asks for."""
        return f"{self.page}: {self.method} {self.path}"

    def filled(self, names: Mapping[str, str]) -> "Command":
        """The command with each ``$NAME`` replaced."""
        return Command(
            self.page,
            self.method,
            Template(self.path).substitute(names),
            self.headers,
            None if self.body is None else Template(self.body).safe_substitute(names),
            self.answer,
            self.output,
        )


def pages() -> list[Path]:
    """All pages of the documentation and of the root."""
    return sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md")])


def links(page: Path) -> list[str]:
    """Targets of the page's links that are not addresses."""
    text = _BLOCK.sub("", page.read_text())
    return [target for target in _LINK.findall(text) if "://" not in target]


def anchors(page: Path) -> set[str]:
    """Fragments that lead to a heading of the page, as GitHub makes them."""
    headings = _HEADING.findall(_BLOCK.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page in order."""
    text = page.read_text()
    found = list(_BLOCK.finditer(text))
    return [
        Block(match[1], match[2], _answer(text, match, after))
        for match, after in itertools.zip_longest(found, found[1:])
    ]


def _answer(text: str, match: re.Match[str], after: re.Match[str] | None) -> Block | None:
    if after is None or text[match.end() : after.start()].strip():
        return None
    return Block(after[1], after[2])


def commands(page: Path) -> Iterator[Command]:
    """The page's curl commands; the answer belongs to the last one of its block."""
    for block in blocks(page):
        if block.language != "sh":
            continue
        starts = [piece.start() for piece in re.finditer(r"^curl ", block.text, re.MULTILINE)]
        for start, end in itertools.pairwise([*starts, None]):
            shown = block.answer if end is None else None
            claimed = elided(shown.text) if shown and shown.language == "json" else None
            yield _command(page.name, shlex.split(block.text[start:end]), claimed)


def _command(page: str, words: Sequence[str], answer: Any) -> Command:  # noqa: ANN401  (any JSON)
    options = list(itertools.pairwise(words))
    given = [value for option, value in options if option == "-H"]
    body = next((value for option, value in options if option == "-d"), None)
    output = next((value for option, value in options if option == "-o"), None)
    method = next((value for option, value in options if option == "-X"), "POST" if body else "GET")
    address = next(word for word in words if word.startswith("$U/"))
    headers = dict(header.split(": ", 1) for header in given)
    return Command(page, method, address.removeprefix("$U"), headers, body, answer, output)


def elided(text: str) -> Any:  # noqa: ANN401  (any JSON)
    """JSON in which ``…`` stands for members or items that are left out; numbers as decimals."""
    written, inside = "", ""
    for piece in re.findall(r'"(?:[^"\\]|\\.)*"|…|[^"…]', text, re.DOTALL):
        if piece == LEFT_OUT:
            is_member = inside.endswith("{") and not written.rstrip().endswith(":")
            piece = f'"{LEFT_OUT}": 0' if is_member else f'"{LEFT_OUT}"'
        elif piece in "{[":
            inside += piece
        elif piece in "}]":
            inside = inside[:-1]
        written += piece
    return json.loads(written, parse_float=Decimal)


def differences(claimed: Any, real: Any, where: str = "") -> Iterator[str]:  # noqa: ANN401
    """What is not as claimed; a number may be rounded to the digits that are shown."""
    if isinstance(claimed, dict) and isinstance(real, dict):
        yield from _differing_members(claimed, real, where)
    elif isinstance(claimed, list) and isinstance(real, list):
        yield from _differing_items(claimed, real, where)
    elif isinstance(claimed, Decimal) and isinstance(real, int | float):
        unit = Decimal(1).scaleb(int(claimed.as_tuple().exponent))
        if abs(claimed - Decimal(real)) > unit * Decimal("0.501"):
            yield f"{where} is {real}, not {claimed}"
    elif claimed not in (LEFT_OUT, real):
        yield f"{where} is {real!r}, not {claimed!r}"


def _differing_members(claimed: dict[str, Any], real: dict[str, Any], where: str) -> Iterator[str]:
    shown = {name: value for name, value in claimed.items() if name != LEFT_OUT}
    for name, value in shown.items():
        if name not in real:
            yield f"{where}/{name} does not exist"
        else:
            yield from differences(value, real[name], f"{where}/{name}")
    if LEFT_OUT not in claimed and set(real) - set(shown):
        yield f"{where} also has {sorted(set(real) - set(shown))}"


def _differing_items(claimed: list[Any], real: list[Any], where: str) -> Iterator[str]:
    if LEFT_OUT not in claimed:
        if len(claimed) != len(real):
            yield f"{where} has {len(real)} items, not {len(claimed)}"
        pairs = list(zip(claimed, real, strict=False))
    else:
        gap = claimed.index(LEFT_OUT)
        behind = len(claimed) - gap - 1
        pairs = list(zip(claimed[:gap], real, strict=False))
        pairs += list(zip(claimed[gap + 1 :], real[len(real) - behind :], strict=False))
    for place, (one, other) in enumerate(pairs):
        yield from differences(one, other, f"{where}/{place}")


def unknown_members(claimed: Any, real: Any, where: str = "") -> Iterator[str]:  # noqa: ANN401
    """Members that are shown and do not exist, whatever the values."""
    if isinstance(claimed, dict) and isinstance(real, dict):
        for name in set(claimed) - {LEFT_OUT}:
            if name not in real:
                yield f"{where}/{name} does not exist"
            else:
                yield from unknown_members(claimed[name], real[name], f"{where}/{name}")
    elif isinstance(claimed, list) and isinstance(real, list) and claimed and real:
        yield from unknown_members(claimed[0], real[0], f"{where}/0")
