import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.theory.errors import LabelsMismatchError
from ml.theory.label_mapping import NAMED, check_entries, scored_as

CLASSES = ("basset_hound", "beagle", "pug")
NAMES = st.sampled_from("abcdef")


def refused(
    photos: dict[str, int], mapping: dict[str, str | None] | None = None
) -> LabelsMismatchError:
    with pytest.raises(LabelsMismatchError) as caught:
        scored_as(photos, CLASSES, mapping or {})
    return caught.value


def test_a_label_that_is_a_class_needs_no_entry_and_classes_may_be_absent() -> None:
    assert scored_as({"pug": 3}, CLASSES, {}) == {"pug": "pug"}


def test_two_labels_may_be_one_class_and_null_leaves_photos_out() -> None:
    mapping = {"dog": "pug", "hound": "pug", "fox": None}

    found = scored_as({"dog": 1, "hound": 2, "fox": 3, "beagle": 4}, CLASSES, mapping)

    assert found == {"dog": "pug", "hound": "pug", "fox": None, "beagle": "beagle"}


def test_an_entry_counts_even_for_a_label_that_is_a_class() -> None:
    found = scored_as({"pug": 1, "beagle": 1}, CLASSES, {"pug": "beagle", "beagle": None})

    assert found == {"pug": "beagle", "beagle": None}


def test_unknown_labels_are_named_with_their_photos_and_the_classes_that_are_left() -> None:
    wrong = refused({"Beagle": 12, "fox": 1, "pug": 5})

    assert str(wrong) == (
        "the model does not know 'Beagle' (12 photos), 'fox' (1 photo) of the dataset; no label "
        "of the dataset is its 'basset_hound', 'beagle'; say what each is scored as, as in "
        'label_mapping {"Beagle": "beagle"}, or null to leave its photos out'
    )


@pytest.mark.parametrize(
    ("label", "near"),
    [
        ("Beagle", "beagle"),
        ("BASSET HOUND", "basset_hound"),
        ("basset-hound", "basset_hound"),
        ("beagel", "beagle"),
    ],
)
def test_a_near_miss_is_told(label: str, near: str) -> None:
    assert refused({label: 1}).misfits[0].near == (near,)


def test_of_many_unknown_labels_a_few_are_named_and_the_rest_counted() -> None:
    wrong = refused({f"x{number}": 2 for number in range(NAMED + 3)})

    assert "and 3 more" not in str(wrong)
    assert "'x4' (2 photos), 3 more (6 photos) of the dataset" in str(wrong)
    assert [misfit.label for misfit in wrong.misfits] == ["x0", "x1", "x2", "x3", "x4"]


def test_an_entry_must_name_a_label_of_the_dataset() -> None:
    wrong = refused({"beagle": 1}, {"begle": "pug"})

    assert str(wrong) == (
        "label_mapping names 'begle', which the dataset does not have; it has 'beagle'"
    )
    assert wrong.misfits[0].near == ("beagle",)


def test_an_entry_must_lead_to_a_class_of_the_model() -> None:
    with pytest.raises(LabelsMismatchError, match="maps to 'pugg', which the model does") as caught:
        check_entries(CLASSES, {"dog": "pugg", "fox": None})

    (misfit,) = caught.value.misfits
    assert (misfit.label, misfit.near) == ("dog", ("pug",))


@given(
    st.dictionaries(NAMES, st.integers(1, 9), min_size=1),
    st.lists(NAMES, min_size=2, unique=True),
    st.dictionaries(NAMES, st.none() | NAMES),
)
def test_every_label_has_a_class_or_is_left_out_or_the_mapping_is_refused(
    photos: dict[str, int], classes: list[str], mapping: dict[str, str | None]
) -> None:
    fits = mapping.keys() <= photos.keys() <= {*classes, *mapping}
    fits = fits and set(mapping.values()) <= {None, *classes}
    if not fits:
        with pytest.raises(LabelsMismatchError):
            scored_as(photos, classes, mapping)
        return

    found = scored_as(photos, classes, mapping)

    assert found == {label: mapping.get(label, label) for label in photos}
