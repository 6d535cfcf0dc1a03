"""The report on a label rule: items, classes, near-duplicates and a repair that works."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.theory.label_report import LabelCount, NearDuplicate, explain_labels, near_duplicates
from ml.theory.labels import make_labeller

PETS = r"^(.+)_\d+\.jpg$"


def test_every_name_has_a_label_or_a_reason_and_classes_have_counts() -> None:
    report = explain_labels(["pug_1.jpg", "README", "pug_2.jpg", "boxer_1.jpg"], pattern=PETS)

    assert [(item.label, item.reason) for item in report.items] == [
        ("pug", None),
        (None, "no_match"),
        ("pug", None),
        ("boxer", None),
    ]
    assert report.classes == (LabelCount("boxer", 1), LabelCount("pug", 2))
    assert (report.matched, report.unmatched) == (3, 1)


def test_when_every_name_is_labelled_there_is_no_hint() -> None:
    assert explain_labels(["pug_1.jpg"], pattern=PETS).hint is None


def test_names_that_nothing_can_label_get_no_hint() -> None:
    assert explain_labels(["a", "b"], pattern=PETS).hint is None


@pytest.mark.parametrize(
    ("pattern", "names", "rule", "repaired"),
    [
        (PETS, ["pug_1.jpg", "pug_2.png"], "regex", r"^(.+)_\d+\.(?:jpg|png)$"),
        (PETS, ["pug_1.jpg", "pug_2.JPG"], "regex", rf"(?i){PETS}"),
        (r"^(.+)_\d+\.(jpg|png)$", ["pug_1.gif"], "regex", r"^(.+)_\d+\.(?:jpg|png|gif)$"),
        (PETS, ["pug/1.jpg", "boxer/1.jpg"], "parent_folder", None),
        (r"/([^/]+)_\d+\.jpg$", ["d/pug_1.jpg"], "regex", r"/([^/]+)_\d+\.jpg$"),
        (PETS, ["pug (1).jpeg", "boxer (2).png"], "regex", None),
    ],
)
def test_applying_the_hint_leaves_no_name_without_a_label(
    pattern: str, names: list[str], rule: str, repaired: str | None
) -> None:
    hint = explain_labels(names, pattern=pattern).hint

    assert hint is not None
    assert (hint.rule, hint.remaining) == (rule, 0)
    assert repaired in (None, hint.pattern)
    labeller = make_labeller(
        hint.rule, pattern=hint.pattern, on=hint.on or "name", group=hint.group or 1
    )
    assert all(labeller.label(name).usable for name in names)


def test_a_hint_says_what_the_missed_names_share_and_how_many_it_labels() -> None:
    hint = explain_labels(["a_1.jpg", "a_2.png", "a_3.png", "notes.md"], pattern=PETS).hint

    assert hint is not None
    assert hint.message.startswith("3 names have no label, 2 of them ending in .png; try ")
    assert hint.message.endswith("it labels 2 of them")
    assert (hint.fixes, hint.remaining) == (2, 1)


@given(names=st.lists(st.from_regex(r"\A[ab]{1,3}[_-]?[0-9]{0,2}\.(jpg|png|JPG)\Z"), max_size=20))
def test_a_hint_never_changes_a_label(names: list[str]) -> None:
    report = explain_labels(names, pattern=PETS)

    if report.hint is not None:
        labeller = make_labeller(
            report.hint.rule,
            pattern=report.hint.pattern,
            on=report.hint.on or "name",
            group=report.hint.group or 1,
        )
        kept = [item for item in report.items if item.label is not None]
        assert [labeller.label(item.name).usable for item in kept] == [i.label for i in kept]


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (["Great_Pyrenees", "great pyrenees"], ("spelling",)),
        (["beagle", "begale"], ("one_edit",)),
        (["beagle", "beagles"], ("one_edit",)),
        (["class_01", "class_02"], ()),
        (["cat", "car"], ()),
        (["pug", "boxer"], ()),
    ],
)
def test_labels_that_look_alike_are_near_duplicates(
    labels: list[str], found: tuple[str, ...]
) -> None:
    assert tuple(each.kind for each in near_duplicates(labels)) == found


def test_a_group_of_spellings_is_one_finding() -> None:
    assert near_duplicates(["pug-dog", "Pug Dog", "pug_dog"]) == (
        NearDuplicate(("Pug Dog", "pug-dog", "pug_dog"), "spelling"),
    )


def test_long_labels_are_not_compared_letter_by_letter() -> None:
    labels = ["x" * 200, "x" * 201, "y" * 5, "y" * 6]

    assert [each.labels for each in near_duplicates(labels)] == [("y" * 5, "y" * 6)]


def test_ten_thousand_classes_are_counted_and_only_spellings_compared() -> None:
    """Single edits among so many labels would be compared for minutes."""
    names = [f"{label}_{number}.jpg" for label in range(9_999) for number in (1, 2)]

    found = explain_labels([*names, "Breed 7_1.jpg", "breed_7_2.jpg"], pattern=r"^(.+)_\d+\.jpg$")

    assert (len(found.classes), found.matched, found.unmatched) == (10_001, 20_000, 0)
    assert found.near_duplicates == (NearDuplicate(("Breed 7", "breed_7"), "spelling"),)
