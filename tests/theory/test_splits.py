"""Splits and vocabularies, against fastai's numbers and by hand."""

import re
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ml.theory.errors import InvalidInputError
from ml.theory.splits import encode, random_split, shuffled, stratified_split, vocabulary
from tests.golden.figures import Case, cases

LABELS = st.lists(st.sampled_from("abcde"), max_size=60)


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("splits_vocab", "random_splitter"))
def test_the_random_split_is_fastais(case: Case) -> None:
    split = random_split(case["n"], case["valid_pct"], case["seed"])

    assert list(split.valid) == case["valid"]
    assert list(split.train[:10]) == case["train_first_10"]
    assert (len(split.train), len(split.valid)) == (case["n_train"], case["n_valid"])


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("splits_vocab", "vocab"))
def test_classes_stand_in_code_point_order(case: Case) -> None:
    assert list(vocabulary(case["labels"])) == case["vocab"]


@pytest.mark.golden
@pytest.mark.parametrize("case", cases("splits_vocab", "vocab_valid_only"))
def test_a_label_that_train_lacks_has_no_place(case: Case) -> None:
    train, valid = re.findall(r"labels? ([a-z,]+)", case["produced_by"])
    classes = vocabulary(train.split(","))

    assert list(classes) == case["observed"]["vocab"]
    with pytest.raises(KeyError) as unknown:
        encode(valid, classes)
    assert str(unknown.value).strip("\"'") in case["observed"]["value"].replace("\\", "")


@given(n=st.integers(0, 300), seed=st.integers(0, 2**32 - 1))
def test_the_shuffle_is_torchs(n: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    assert shuffled(n, seed) == torch.randperm(n, generator=generator).tolist()


@pytest.mark.parametrize(
    ("n", "fraction", "valid"), [(4, 0.2, 0), (5, 0.2, 1), (10, 0.29, 2), (3, 1.0, 3), (3, 0.0, 0)]
)
def test_the_valid_part_is_the_fraction_rounded_down(n: int, fraction: float, valid: int) -> None:
    split = random_split(n, fraction, 42)

    assert (len(split.valid), len(split.train)) == (valid, n - valid)


def test_capitals_come_before_small_letters_and_both_before_other_scripts() -> None:
    assert vocabulary(["pug", "Éire", "Pug", "猫", "_x", "", "10", "9"]) == (
        "", "10", "9", "Pug", "_x", "pug", "Éire", "猫",
    )  # fmt: skip
    assert vocabulary([]) == ()


def test_a_label_is_encoded_by_its_place() -> None:
    assert encode(["b", "a", "b"], ("a", "b")) == (1, 0, 1)


def test_a_negative_or_huge_seed_counts_by_its_low_32_bits() -> None:
    assert shuffled(20, -1) == shuffled(20, 2**32 - 1)
    assert shuffled(20, 2**32 + 5) == shuffled(20, 5)


def test_nothing_to_split_splits_into_nothing() -> None:
    assert random_split(0, 0.2, 1) == stratified_split([], 0.2, 1)


def test_a_stratified_split_takes_the_same_share_of_each_class() -> None:
    labels = ["a"] * 10 + ["b"] * 20

    split = stratified_split(labels, 0.2, 42)

    assert Counter(labels[index] for index in split.valid) == {"a": 2, "b": 4}


def test_places_left_over_go_to_classes_that_have_none() -> None:
    labels = ["a"] * 9 + ["b"] * 2

    split = stratified_split(labels, 0.2, 42)

    assert Counter(labels[index] for index in split.valid) == {"a": 1, "b": 1}


def test_a_class_of_one_trains() -> None:
    labels = ["a"] * 9 + ["b"]

    assert "b" not in {labels[index] for index in stratified_split(labels, 0.9, 1).valid}


@given(labels=LABELS, fraction=st.floats(0, 1), seed=st.integers())
def test_a_stratified_split_is_a_partition_that_leaves_every_class_in_train(
    labels: list[str], fraction: float, seed: int
) -> None:
    split = stratified_split(labels, fraction, seed)

    assert sorted((*split.train, *split.valid)) == list(range(len(labels)))
    assert len(split.valid) <= int(fraction * len(labels))
    assert {labels[index] for index in split.train} == set(labels)


@given(labels=LABELS, seed=st.integers())
def test_the_same_seed_gives_the_same_split(labels: list[str], seed: int) -> None:
    assert stratified_split(labels, 0.2, seed) == stratified_split(labels, 0.2, seed)


@pytest.mark.parametrize("fraction", [-0.1, 1.1])
def test_a_fraction_outside_0_to_1_is_refused(fraction: float) -> None:
    with pytest.raises(InvalidInputError, match=r"use 0 to 1"):
        random_split(10, fraction, 1)
