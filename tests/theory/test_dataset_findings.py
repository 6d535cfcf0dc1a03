from dataclasses import replace

from ml.theory.dataset_findings import Finding, Photo, findings

FAR = 0x0123_4567_89AB_CDEF
"""Multiplied by small numbers its bits are all over the place."""


def photos(*labels: str, split: str = "train") -> list[Photo]:
    """One sound photo for each label, none like another."""
    return [
        Photo(
            item_id=f"itm_{split}{number}",
            path=f"{split}_{label}_{number}.jpg",
            label=label,
            split=split,  # type: ignore[arg-type]  # one of the parts
            width=500,
            height=375,
            mode="RGB",
            digest=f"{split} {number}",
            fingerprint=(number + 1 + 50 * (split == "valid")) * FAR % 2**64,
        )
        for number, label in enumerate(labels)
    ]


SOUND = [*photos(*["cat"] * 6, *["dog"] * 6), *photos("cat", "dog", split="valid")]


def found(photos: list[Photo], code: str) -> Finding:
    (finding,) = [each for each in findings(photos) if each.code == code]
    return finding


def codes(photos: list[Photo]) -> list[str]:
    return [finding.code for finding in findings(photos)]


def test_of_a_sound_dataset_there_is_nothing_to_say() -> None:
    assert codes(SOUND) == []
    assert codes([]) == ["no_valid_part"]


def test_a_label_outside_train_is_named() -> None:
    finding = found([*SOUND, *photos("owl", split="valid")], "label_not_in_train")

    assert (finding.count, finding.examples) == (1, (("owl",),))


def test_the_same_bytes_in_train_and_valid_are_a_leak_and_a_duplicate() -> None:
    twin = replace(SOUND[0], item_id="itm_twin", path="twin.jpg", split="valid")

    assert codes([*SOUND, twin]) == ["train_valid_leak", "exact_duplicates"]
    assert found([*SOUND, twin], "train_valid_leak").examples == (("train_cat_0.jpg", "twin.jpg"),)
    assert found([*SOUND, twin], "train_valid_leak").items == (("itm_train0", "itm_twin"),)
    assert found([*SOUND, twin], "exact_duplicates").count == 1


def test_the_same_bytes_without_a_fingerprint_are_found_too() -> None:
    plain = [replace(photo, fingerprint=None) for photo in SOUND]

    assert codes([*plain, replace(plain[0], path="twin.jpg")]) == ["exact_duplicates"]


def test_a_smaller_copy_is_a_near_duplicate_and_no_exact_one() -> None:
    copy = replace(
        SOUND[0], path="small.jpg", digest="another", fingerprint=int(SOUND[0].fingerprint or 0) ^ 5
    )

    assert codes([*SOUND, copy]) == ["near_duplicates"]
    assert found([*SOUND, copy], "near_duplicates").count == 1


def test_one_picture_with_two_labels_contradicts_itself() -> None:
    other = replace(SOUND[0], path="dog_9.jpg", label="dog")

    assert found([*SOUND, other], "contradicting_labels").examples == (
        ("train_cat_0.jpg", "dog_9.jpg"),
    )


def test_copies_within_valid_and_test_are_no_leak_from_train() -> None:
    held_out = replace(SOUND[-1], path="copy.jpg", split="test")

    assert "train_valid_leak" not in codes([*SOUND, held_out])


def test_labels_that_differ_in_case_may_be_one_class() -> None:
    other = replace(SOUND[0], label="Cat", path="Cat_9.jpg", digest="9", fingerprint=None)

    assert found([*SOUND, other], "similar_labels").examples == (("Cat", "cat"),)


def test_classes_of_fewer_than_five_are_few() -> None:
    assert codes([*SOUND[:4], *SOUND[6:]]) == ["few_photos"]
    assert codes([*SOUND[:5], *SOUND[6:]]) == []


def test_more_than_five_times_as_many_is_an_imbalance() -> None:
    even, odd = ["cat"] * 25 + ["dog"] * 5, ["cat"] * 26 + ["dog"] * 5
    valid = photos("cat", split="valid")

    assert codes([*photos(*even), *valid]) == []
    finding = found([*photos(*odd), *valid], "class_imbalance")
    assert finding.detail == "'cat' has 26 photos to train on, 'dog' has 5"
    assert finding.examples == (("cat", "dog"),)


def test_tiny_and_huge_photos_and_other_modes_are_counted() -> None:
    odd = [
        replace(SOUND[0], width=63, mode="CMYK"),
        replace(SOUND[1], width=10_000, height=5_001, mode="RGBA"),
        replace(SOUND[2], mode="RGBA"),
        replace(SOUND[3], width=64, height=64, mode="L"),
        *SOUND[4:],
    ]

    assert codes(odd) == ["tiny_images", "huge_images", "unusual_modes"]
    assert "2 RGBA, 1 CMYK" in found(odd, "unusual_modes").detail
    assert found(odd, "unusual_modes").count == 3


def test_examples_are_few_and_short_however_much_is_found() -> None:
    many = [replace(SOUND[0], path=f"{number}.jpg") for number in range(1000)]

    finding = found([*SOUND, *many], "exact_duplicates")

    assert finding.count == 1000
    assert [len(example) for example in finding.examples] == [10]


def test_what_ten_thousand_classes_have_to_be_told_stays_short() -> None:
    labels = [f"{'x' * 4000}{number}" for number in range(10_000)]

    every = [*photos(*labels), *photos("owl", split="valid")]
    told = findings([replace(photo, fingerprint=None) for photo in every])

    assert [finding.code for finding in told] == ["label_not_in_train", "few_photos"]
    assert told[1].count == 10_000
    assert all(len(finding.detail) < 2000 for finding in told)


def test_control_characters_of_labels_are_escaped_in_words() -> None:
    detail = found([*SOUND, *photos("a\nb\x1b[31m", split="valid")], "label_not_in_train").detail

    assert detail == r"labels without a photo to train on: 'a\nb\x1b[31m'"
