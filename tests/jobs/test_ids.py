import time

import pytest

from jobs.ids import (
    DatasetId,
    item_id,
    made_ms,
    new_dataset_id,
    new_job_id,
    new_model_id,
    new_request_id,
)

PETS = DatasetId("ds_1")


def test_an_id_names_its_kind() -> None:
    made = (new_job_id(), new_dataset_id(), new_model_id(), new_request_id())

    assert [name.split("_")[0] for name in made] == ["job", "ds", "mdl", "req"]


def test_ids_made_one_after_another_are_in_order() -> None:
    made = [new_job_id() for _ in range(1000)]

    assert made == sorted(set(made))


def test_an_id_tells_when_it_was_made() -> None:
    before_ms = int(time.time() * 1000)

    made = made_ms(new_job_id())

    assert made is not None
    assert before_ms <= made <= time.time() * 1000


@pytest.mark.parametrize("text", ["", "notes", "job_1", "job_" + "z" * 26, "README.md"])
def test_what_is_no_id_was_never_made(text: str) -> None:
    assert made_ms(text) is None


def test_a_picture_keeps_its_id_within_its_lineage() -> None:
    assert item_id(PETS, "a/b.jpg") == item_id(PETS, "a/b.jpg")
    assert item_id(PETS, "a/b.jpg") != item_id(PETS, "a/c.jpg")
    assert item_id(PETS, "a/b.jpg") != item_id(DatasetId("ds_2"), "a/b.jpg")


def test_the_border_between_lineage_and_path_counts() -> None:
    assert item_id(DatasetId("ds_1"), "2.jpg") != item_id(DatasetId("ds_12"), ".jpg")


def test_a_picture_id_has_128_bits() -> None:
    assert len(item_id(PETS, "a.jpg")) == len("itm_") + 32


def test_a_name_that_is_not_utf8_has_an_id() -> None:
    assert item_id(PETS, "caf\udce9.jpg") != item_id(PETS, "cafe.jpg")
