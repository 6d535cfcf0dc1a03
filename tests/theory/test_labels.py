"""Labels from names: Python's meaning of a pattern, in linear time."""

import re
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.theory.errors import InvalidInputError, InvalidRegexError, NoGroupError
from ml.theory.labels import (
    ImageFolderLabeller,
    Labelled,
    Labeller,
    NameLabeller,
    RegexLabeller,
    TableLabeller,
    make_labeller,
)
from tests.golden.figures import Case, cases

PETS = r"^(.+)_\d+\.jpg$"
REFUSED = {"IndexError": NoGroupError, "error": InvalidRegexError, "re.error": InvalidRegexError}
ALPHABET = "ab_1é\n.K-\u0663\u212aß \u2028"


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("regex_labels"))
def test_a_label_is_what_pythons_re_finds(case: Case) -> None:
    expected = case["expected"]
    error = expected.get("error", "none")
    if error in REFUSED:
        with pytest.raises(REFUSED[error]):
            RegexLabeller(case["pattern"])
        return

    labeller: Labeller = RegexLabeller(case["pattern"], match=case["match"])
    if case["kind"] == "loader_from_name_re":
        labeller = NameLabeller(labeller)
    found = labeller.label(case["input"].replace(case["os_sep"], "/"))

    assert found.label == expected.get("label")
    assert (found.reason == "no_match") == (error == "AssertionError")


@settings(max_examples=300)
@given(text=st.text(ALPHABET, max_size=8))
@pytest.mark.parametrize(
    "pattern",
    [
        PETS,
        r"(.+)_\d+.jpg$",
        r"(\w+)$",
        r"([^\W_]+)\s",
        r"(?i)(k+)",
        r"(?m)^(.*)$",
        r"(a|b)+?(\D*)\Z",
        r"([^a\d]{1,2}?)(?:$|_)",
        r"(?s)(.+)b",
        r"(?a)(\w)\W",
        r"((?:a|_)*)1?$\n",
        r"(?x) ( [ab]+ )  # letters",
    ],
)
def test_every_construct_means_what_it_means_in_python(pattern: str, text: str) -> None:
    expected = re.search(pattern, text)

    found = RegexLabeller(pattern).label(text)

    assert (found.reason == "no_match") == (expected is None)
    assert found.label == (expected and expected.group(1))


@pytest.mark.parametrize(
    ("pattern", "construct"),
    [
        (r"(a)(?=b)", "look-ahead or look-behind"),
        (r"(?<!a)(b)", "negative look-ahead or look-behind"),
        (r"(a)\1", "backreference"),
        (r"(a)?(?(1)b|c)", "conditional group"),
        (r"(a++)", "possessive quantifier"),
        (r"((?>a))", "atomic group"),
        (r"(a{1,2000})", "repeat count"),
        (r"((?:(a?)b?)*)", "repeat of nothing"),
        (r"(\w{1000}\w{1000}\w{1000})", "size"),
        (r"(a", "syntax"),
        (r"(?L)(a)", "syntax"),
        (r"(?m:^)(a)$", "$ beside a scoped multiline flag"),
        ("(" * 5000 + ")" * 5000, "nesting"),
    ],
)
def test_what_has_no_linear_match_is_refused_by_name(pattern: str, construct: str) -> None:
    with pytest.raises(InvalidRegexError) as refused:
        RegexLabeller(pattern)

    assert refused.value.construct == construct


def test_a_word_boundary_is_refused_beside_letters_beyond_ascii_only() -> None:
    labeller = RegexLabeller(r"\b(\w+)\b")

    assert labeller.label("pug 3").label == "pug"
    with pytest.raises(InvalidRegexError, match="cannot judge the letters of 'é'"):
        labeller.label("é")


def test_a_pattern_that_python_would_take_ages_for_answers_at_once() -> None:
    assert RegexLabeller(r"^((?:a+)+)$").label("a" * 5000 + "b").reason == "no_match"


def test_a_group_is_chosen_by_number_or_name() -> None:
    pattern = r"^(?P<colour>\w+)-(?P<breed>\w+)$"

    assert RegexLabeller(pattern, group=2).label("red-pug").label == "pug"
    assert RegexLabeller(pattern, group="colour").label("red-pug").label == "red"
    with pytest.raises(NoGroupError, match="has no group 'size'"):
        RegexLabeller(pattern, group="size")
    with pytest.raises(NoGroupError, match="has no group 3"):
        RegexLabeller(pattern, group=3)


@pytest.mark.parametrize(
    ("pattern", "text", "label", "reason"),
    [
        (r"^(.*)_1$", "_1", "", "empty_label"),
        (r"^(a)?b$", "b", None, "empty_label"),
        (PETS, "pug_1.png", None, "no_match"),
        (PETS, "pug\udcff_1.jpg", None, "name_not_utf8"),
    ],
)
def test_a_name_without_a_usable_label_says_why(
    pattern: str, text: str, label: str | None, reason: str
) -> None:
    found = RegexLabeller(pattern).label(text)

    assert (found.label, found.reason, found.usable) == (label, reason, None)


@pytest.mark.parametrize(("on", "label"), [("name", "pug"), ("path", "/d/x_9/pug")])
def test_a_pattern_sees_the_name_or_the_whole_path(on: Literal["name", "path"], label: str) -> None:
    assert make_labeller("regex", pattern=PETS, on=on).label("/d/x_9/pug_5.jpg").label == label


@pytest.mark.parametrize(
    ("path", "label", "reason"),
    [
        ("train/pug/1.jpg", "pug", None),
        ("1.jpg", None, "no_parent_folder"),
        ("\udcff/1.jpg", None, "name_not_utf8"),
    ],
)
def test_the_parent_folder_is_the_last_one(
    path: str, label: str | None, reason: str | None
) -> None:
    found = make_labeller("parent_folder").label(path)

    assert (found.label, found.reason) == (label, reason)


def test_a_regex_rule_needs_a_pattern() -> None:
    with pytest.raises(InvalidInputError, match="the rule regex needs a pattern"):
        make_labeller("regex")


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("train/cat/1.jpg", "cat"),
        ("cat/1.jpg", "cat"),
        ("cat/train/1.jpg", "train"),
        ("train/1.jpg", None),
        ("1.jpg", None),
    ],
)
def test_the_folder_of_a_part_is_no_class_of_an_image_folder(path: str, label: str | None) -> None:
    found = ImageFolderLabeller().label(path)

    assert (found.label, found.reason) == (label, None if label else "no_parent_folder")


def test_a_table_says_what_is_written_down_and_why_nothing_is() -> None:
    written = {"a.jpg": "cat", "b.jpg": "", "\udcff.jpg": "dog"}
    labeller = TableLabeller(written.get)

    assert labeller.label("a.jpg") == Labelled("cat", None)
    assert labeller.label("b.jpg") == Labelled("", "empty_label")
    assert labeller.label("c.jpg") == Labelled(None, "no_row")
    assert labeller.label("\udcff.jpg") == Labelled(None, "name_not_utf8")
