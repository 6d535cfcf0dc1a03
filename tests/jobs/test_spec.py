import json
import math
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from jobs import store
from jobs.database import Database
from jobs.dataset_spec import (
    DatasetSpec,
    Labels,
    RandomSplit,
    RegexLabels,
    SampleSource,
    Source,
    Spec,
    Split,
)
from jobs.hyperparameters import (
    Augment,
    FixedDraws,
    LearningRateFromJob,
    LearningRatePerGroup,
    LearningRateRange,
    LrMult,
    Schedule,
    WeightsFile,
)
from jobs.job import JobType
from jobs.spec import SPEC_OF, EvaluationSpec, FineTuneSpec, LrFindSpec, PresizingPreviewSpec
from tests.jobs import given

DATASET = {
    "name": "pets",
    "source": {"type": "sample"},
    "labels": {"rule": "regex", "pattern": r"^(.+)_\d+\.jpg$"},
}


def read(model: type[Spec], /, **fields: Any) -> Any:  # noqa: ANN401 - any spec
    """The spec as it comes in: from JSON text."""
    return model.model_validate_json(json.dumps(fields))


def refusal(model: type[Spec], /, **fields: Any) -> str:  # noqa: ANN401 - any JSON
    """The message with which the spec refuses these fields."""
    with pytest.raises(ValidationError) as caught:
        read(model, **fields)
    return str(caught.value)


def test_an_lr_find_needs_nothing_but_a_dataset() -> None:
    spec = read(LrFindSpec, dataset="ds_1")

    assert (spec.start_lr, spec.end_lr, spec.num_steps) == (1e-7, 10.0, 100)
    assert (spec.architecture, spec.weights) == ("resnet34", "DEFAULT")
    assert (spec.presize, spec.size, spec.batch_size) == (460, 224, 64)


def test_a_presizing_preview_needs_nothing_but_a_dataset() -> None:
    spec = read(PresizingPreviewSpec, dataset="ds_1")

    assert (spec.presize, spec.size, spec.seed) == (460, 224, 42)
    assert (spec.images, spec.draws, spec.augment) == (4, None, Augment())
    assert read(PresizingPreviewSpec, **spec.model_dump(mode="json")) == spec


def test_a_presizing_preview_has_the_books_draws_or_those_of_a_training() -> None:
    spec = read(PresizingPreviewSpec, dataset="ds_1", draws={"rotate_deg": 30, "zoom": 1.2})

    assert spec.draws == FixedDraws(rotate_deg=30.0, zoom=1.2, warp=[0.0, 0.0], flip=False)


@pytest.mark.parametrize("images", [0, 17, [], ["itm_1"] * 2, ["ds_1"], True, 1.5])
def test_a_presizing_preview_is_of_one_to_sixteen_photos(images: object) -> None:
    assert "images" in refusal(PresizingPreviewSpec, dataset="ds_1", images=images)


def test_a_fine_tune_needs_nothing_but_a_dataset() -> None:
    spec = read(FineTuneSpec, dataset="ds_1")

    assert (spec.epochs, spec.freeze_epochs, spec.learning_rate) == (3, 1, 2e-3)
    assert spec.discriminative is None
    assert (spec.schedule.pct_start, spec.schedule.div) == (0.3, 5.0)
    assert (spec.weight_decay, spec.label_smoothing) == (0.01, 0.0)
    assert (spec.precision, spec.seed, spec.priority) == ("auto", 42, 5)
    assert spec.train_norm_layers


def test_augmentation_is_mild_by_default() -> None:
    assert Augment().model_dump() == {
        "min_scale": 0.75,
        "max_rotate": 10.0,
        "max_zoom": 1.1,
        "max_lighting": 0.2,
        "max_warp": 0.2,
        "flip": True,
    }


def test_a_dataset_keeps_a_stratified_fifth_for_validation_by_default() -> None:
    spec = read(DatasetSpec, **DATASET)

    assert spec.split == RandomSplit(rule="random", valid_fraction=0.2, seed=42, stratify=True)
    assert spec.max_unreadable_fraction == 0.1
    assert spec.source == SampleSource(type="sample", photos_per_class=60, seed=1)
    assert (spec.labels.on, spec.labels.group, spec.labels.unmatched) == ("name", 1, "error")


def test_an_evaluation_looks_at_the_validation_part_by_default() -> None:
    assert read(EvaluationSpec, model="mdl_1", dataset="ds_1").split == "valid"


@pytest.mark.parametrize("model", SPEC_OF.values())
def test_every_spec_refuses_a_field_it_does_not_know(model: type[Spec]) -> None:
    assert "Extra inputs are not permitted" in refusal(model, learning_rte=0.1)


@pytest.mark.parametrize(
    "labels", [{"rule": "regex", "pattern": "(a)", "flags": "i"}, {"rule": "parent_folder", "x": 1}]
)
def test_a_nested_part_refuses_a_field_it_does_not_know(labels: dict[str, Any]) -> None:
    assert "Extra inputs are not permitted" in refusal(DatasetSpec, **{**DATASET, "labels": labels})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", "3"),
        ("epochs", 3.0),
        ("epochs", True),
        ("batch_size", None),
        ("learning_rate", "0.1"),
        ("learning_rate", True),
        ("train_norm_layers", "yes"),
        ("train_norm_layers", 1),
        ("name", 7),
        ("metadata", {"key": 1}),
        ("augment", []),
    ],
)
def test_a_value_of_another_json_type_is_refused(field: str, value: object) -> None:
    assert field in refusal(FineTuneSpec, dataset="ds_1", **{field: value})


def test_a_whole_number_is_taken_for_a_rate() -> None:
    assert read(FineTuneSpec, dataset="ds_1", learning_rate=1).learning_rate == 1.0


@pytest.mark.parametrize(
    ("model", "field", "lowest", "highest", "step"),
    [
        (FineTuneSpec, "epochs", 1, 1000, 1),
        (FineTuneSpec, "freeze_epochs", 0, 1000, 1),
        (FineTuneSpec, "presize", 224, 2048, 1),
        (FineTuneSpec, "size", 32, 460, 1),
        (FineTuneSpec, "batch_size", 2, 4096, 1),
        (LrFindSpec, "start_lr", 1e-30, 5.0, 1.0),
        (FineTuneSpec, "seed", 0, 2**32 - 1, 1),
        (FineTuneSpec, "priority", 0, 9, 1),
        (LrFindSpec, "num_steps", 20, 10_000, 1),
        (LrFindSpec, "repeats", 1, 10, 1),
        (LrFindSpec, "end_lr", 1e-6, 100.0, 101.0),
        (EvaluationSpec, "batch_size", 1, 4096, 1),
        (Augment, "max_rotate", 0.0, 180.0, 0.1),
        (Augment, "max_zoom", 1.0, 4.0, 0.1),
        (Schedule, "pct_start", 0.0, 1.0, 0.1),
        (Schedule, "div", 1.0, 1e6, 0.1),
        (LrMult, "lr_mult", 1.0, 1e6, 0.1),
    ],
)
def test_a_number_may_reach_its_bounds_but_not_pass_them(
    model: type[Spec], field: str, lowest: float, highest: float, step: float
) -> None:
    needed = {
        name: f"{'mdl' if name == 'model' else 'ds'}_1"
        for name in ("model", "dataset")
        if name in model.model_fields
    }

    for value in (lowest, highest):
        assert getattr(read(model, **needed, **{field: value}), field) == value
    for value in (lowest - step, highest + step):
        assert field in refusal(model, **needed, **{field: value})


@pytest.mark.parametrize(
    ("model", "field", "value"),
    [
        (FineTuneSpec, "learning_rate", 0),
        (FineTuneSpec, "weight_decay", 1),
        (FineTuneSpec, "label_smoothing", 1),
        (Augment, "min_scale", 0),
        (Augment, "max_lighting", 1),
        (RandomSplit, "valid_fraction", 0),
        (RandomSplit, "valid_fraction", 1),
    ],
)
def test_an_open_bound_is_not_reached(model: type[Spec], field: str, value: float) -> None:
    assert field in refusal(model, **{field: value})


FLOATS = [
    (model, name)
    for model in (
        *(FineTuneSpec, LrFindSpec, Augment, Schedule, LrMult, RandomSplit, DatasetSpec),
        LearningRateRange,
    )
    for name, field in model.model_fields.items()
    if "float" in str(field.annotation) or name in {"lowest", "highest", "learning_rate"}
]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("model", "field"), FLOATS)
def test_a_number_that_is_not_finite_is_refused(
    model: type[Spec], field: str, value: float
) -> None:
    assert f"\n{field}" in refusal(model, **{field: value})


def test_photos_are_stored_at_least_as_large_as_the_network_sees_them() -> None:
    message = refusal(FineTuneSpec, dataset="ds_1", presize=223, size=224)

    assert "presize 223 is smaller than size 224" in message
    assert read(FineTuneSpec, dataset="ds_1", presize=224, size=224).presize == 224


def test_a_sweep_at_least_doubles_the_rate() -> None:
    assert read(LrFindSpec, dataset="ds_1", start_lr=1, end_lr=2).end_lr == 2
    assert "below 2 times start_lr" in refusal(LrFindSpec, dataset="ds_1", start_lr=1, end_lr=1.9)


@pytest.mark.parametrize(
    "rates", [{"lowest": 1e-5, "highest": 1e-3}, {"per_group": [1e-5, 1e-4, 1e-3]}]
)
def test_rates_given_for_each_group_exclude_a_rule_that_makes_them(rates: dict[str, Any]) -> None:
    message = refusal(
        FineTuneSpec, dataset="ds_1", learning_rate=rates, discriminative={"lr_mult": 100}
    )

    assert "discriminative must be absent" in message
    assert read(FineTuneSpec, dataset="ds_1", learning_rate=rates).discriminative is None


def test_the_lowest_rate_is_not_above_the_highest() -> None:
    assert "lowest 0.1 is above highest 0.01" in refusal(
        LearningRateRange, lowest=0.1, highest=0.01
    )


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        (1e-3, 1e-3),
        ({"from_job": "job_1"}, LearningRateFromJob(from_job="job_1", rule="recommended")),
        (
            {"from_job": "job_1", "rule": "valley"},
            LearningRateFromJob(from_job="job_1", rule="valley"),
        ),
        ({"lowest": 1e-5, "highest": 1e-3}, LearningRateRange(lowest=1e-5, highest=1e-3)),
        ({"per_group": [1e-4, 1e-3]}, LearningRatePerGroup(per_group=[1e-4, 1e-3])),
    ],
)
def test_a_learning_rate_is_given_in_one_of_four_ways(value: object, meaning: object) -> None:
    assert read(FineTuneSpec, dataset="ds_1", learning_rate=value).learning_rate == meaning


@pytest.mark.parametrize(
    ("value", "meaning"),
    [("off", "off"), ({"lr_mult": 10}, LrMult(lr_mult=10.0)), ({}, LrMult(lr_mult=100.0))],
)
def test_discriminative_rates_are_off_or_a_ratio(value: object, meaning: object) -> None:
    assert read(FineTuneSpec, dataset="ds_1", discriminative=value).discriminative == meaning


def test_weights_are_a_name_or_a_file() -> None:
    assert read(LrFindSpec, dataset="ds_1", weights="none").weights == "none"
    assert read(LrFindSpec, dataset="ds_1", weights={"path": "/w.pt"}).weights == WeightsFile(
        path="/w.pt"
    )


@pytest.mark.parametrize(
    ("group", "accepted"), [(0, False), (1, True), ("", False), ("breed", True)]
)
def test_a_capture_group_is_a_number_from_one_or_a_name(group: int | str, accepted: bool) -> None:
    labels = {"rule": "regex", "pattern": "(?P<breed>.+)_", "group": group}

    if accepted:
        assert read(RegexLabels, **labels).group == group
    else:
        assert "group" in refusal(RegexLabels, **labels)


@pytest.mark.parametrize(
    ("union", "value"),
    [
        (Source, {"type": "ftp"}),
        (Labels, {"rule": "csv"}),
        (Split, {"rule": "sorted"}),
        (Source, {"path": "/data"}),
    ],
)
def test_a_union_refuses_a_kind_it_does_not_have(
    union: Any,  # noqa: ANN401 - a union has no type
    value: dict[str, Any],
) -> None:
    with pytest.raises(ValidationError, match="tag"):
        TypeAdapter(union).validate_json(json.dumps(value))


@pytest.mark.parametrize("metadata", [{"": "x"}, {"k" * 65: "x"}, {"k": "x" * 513}])
def test_metadata_has_short_keys_and_values(metadata: dict[str, str]) -> None:
    assert "metadata" in refusal(LrFindSpec, dataset="ds_1", metadata=metadata)


def test_metadata_has_at_most_sixteen_keys() -> None:
    metadata = {str(number): "" for number in range(17)}

    assert "metadata" in refusal(LrFindSpec, dataset="ds_1", metadata=metadata)


@pytest.mark.parametrize(
    ("model", "ids"),
    [
        (LrFindSpec, {"dataset": "pets"}),
        (FineTuneSpec, {"dataset": "job_1"}),
        (EvaluationSpec, {"model": "job_1", "dataset": "ds_1"}),
        (LearningRateFromJob, {"from_job": "ds_1"}),
    ],
)
def test_an_id_of_another_kind_is_refused(model: type[Spec], ids: dict[str, str]) -> None:
    assert "should match pattern" in refusal(model, **ids)


def test_a_spec_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        read(LrFindSpec, dataset="ds_1").size = 128


@pytest.mark.parametrize("job_type", SPEC_OF)
def test_a_spec_comes_back_from_the_database_as_it_went_in(
    job_type: JobType, database: Database
) -> None:
    spec = SPEC_OF[job_type].model_validate_json(given.SPECS[job_type].model_dump_json())

    with database.write() as connection:
        job = store.submit(connection, job_type, spec, dataset_id=None)

    assert SPEC_OF[job_type].model_validate(store.get(database, job.id).spec) == spec
    assert spec == given.SPECS[job_type]


def test_every_way_to_give_a_rate_comes_back_from_the_database(database: Database) -> None:
    for rate in ({"from_job": "job_1"}, {"lowest": 1e-5, "highest": 1}, {"per_group": [1e-5, 1]}):
        spec = read(FineTuneSpec, dataset="ds_1", learning_rate=rate)
        with database.write() as connection:
            job = store.submit(connection, JobType.FINE_TUNE, spec, dataset_id="ds_1")

        assert FineTuneSpec.model_validate(store.get(database, job.id).spec) == spec


@pytest.mark.parametrize(
    "fields",
    [
        {"discriminative": {"layer_decay": 0}},
        {"discriminative": {"layer_decay": 1.1}},
        {"early_stopping": {"patience": 0}},
        {"early_stopping": {"metric": "train_loss"}},
        {"early_stopping": {"min_delta": -0.1}},
        {"checkpoint": {"best_by": "f1"}},
        {"checkpoint": {"keep": 2}},
        {"max_duration_s": 0},
        {"accumulate": 0},
        {"class_weights": "inverse"},
        {"class_weights": {}},
        {"class_weights": {"cat": 0}},
    ],
)
def test_an_end_that_cannot_be_meant_is_refused(fields: dict[str, Any]) -> None:
    refusal(FineTuneSpec, dataset="ds_1", **fields)


def test_every_job_type_has_a_spec() -> None:
    assert set(SPEC_OF) == set(JobType)
