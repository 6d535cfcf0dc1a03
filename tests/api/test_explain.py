from dataclasses import asdict
from math import log
from typing import Any

import pytest
from starlette.testclient import TestClient

from ml.theory import lr_peers, lr_suggestions
from ml.theory.schedules import FineTunePlan, exponential_sweep, fine_tune_phases
from tests.api.given import field, problem

SWEEP = list(exponential_sweep(1e-7, 10.0, 100))
VALLEY = [4.0 - 3.2 / (1 + 0.002 / lr) + lr**2 for lr in SWEEP]


def post(client: TestClient, path: str, **body: Any) -> Any:  # noqa: ANN401  (any JSON)
    """The JSON of a successful call."""
    response = client.post(f"/v1/explain/{path}", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def test_equal_activations_have_the_loss_of_chance(client: TestClient) -> None:
    explained = post(client, "cross-entropy", activations=[[0.0, 0.0]], targets=[1])

    (sample,) = explained["samples"]
    assert explained["mean"] == pytest.approx(log(2))
    assert explained["chance_level"] == pytest.approx(log(2))
    assert sample["softmax"] == [0.5, 0.5]
    assert sample["sigmoid_of_difference"] == 0.5
    assert sample["gradient"] == [0.5, -0.5]
    assert sample["nll_of_softmax"] == -0.5
    assert explained["derivation"]


def test_ignored_samples_and_names_are_shown(client: TestClient) -> None:
    explained = post(
        client,
        "cross-entropy",
        activations=[[0.0, 0.0], [1.0, 0.0]],
        targets=[-1, 0],
        class_names=["cat", "dog"],
        ignore_index=-1,
    )

    assert [sample["note"] for sample in explained["samples"]] == ["ignored", None]
    assert explained["samples"][1]["target_name"] == "cat"


@pytest.mark.parametrize(
    ("body", "pointer", "said"),
    [
        ({"activations": [[0.0, 0.0]], "targets": [2]}, "/targets", "target 2"),
        ({"activations": [[0.0, 0.0]], "targets": [0, 1]}, "/targets", "2 targets"),
        ({"activations": [[0.0], [0.0, 1.0]], "targets": [0, 0]}, "/activations", "differ"),
        ({"activations": [], "targets": []}, "/activations", "at least 1"),
        ({"activations": [["a"]], "targets": [0]}, "/activations/0/0", '"a"'),
        (
            {"activations": [[0.0, 0.0]], "targets": [0], "class_weights": [1.0]},
            "/class_weights",
            "1 weights for 2 classes",
        ),
        (
            {"activations": [[0.0, 0.0]], "targets": [0], "class_names": ["a"]},
            "/class_names",
            "1 names for 2 classes",
        ),
        (
            {"activations": [[0.0, 0.0]], "targets": [0], "label_smoothing": 1.5},
            "/label_smoothing",
            "1.5",
        ),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(
    client: TestClient, body: dict[str, Any], pointer: str, said: str
) -> None:
    response = client.post("/v1/explain/cross-entropy", json=body)

    refused = problem(response, 422, "validation_failed", pointer)
    assert said in field(refused, pointer)["detail"]


def test_the_rates_are_those_that_a_find_would_suggest(client: TestClient) -> None:
    answered = post(client, "lr-suggestions", lrs=SWEEP, losses=VALLEY)

    expected = lr_suggestions.analyse(SWEEP, VALLEY)
    valley = expected.suggestions["valley"]
    assert valley is not None
    assert expected.recommended is not None
    assert answered["suggestions"]["valley"]["lr"] == valley.lr
    assert answered["recommended"]["lr"] == expected.recommended.lr
    assert set(answered["suggestions"]) == set(lr_suggestions.RULES)


def test_a_loss_that_was_not_finite_is_null(client: TestClient) -> None:
    losses: list[float | None] = [*VALLEY[:-10], *[None] * 10]

    answered = post(client, "lr-suggestions", lrs=SWEEP, losses=losses)

    assert answered["zero_lag"][-1] is None
    assert answered["suggestions"]["valley"] is not None


def test_too_few_points_are_an_answer_not_an_error(client: TestClient) -> None:
    answered = post(client, "lr-suggestions", lrs=[0.1, 0.2], losses=[1.0, 0.5])

    assert answered["recommended"] is None
    assert all(suggestion is None for suggestion in answered["suggestions"].values())
    assert {"code", "detail"} <= set(answered["warnings"][0])


def test_what_other_finders_would_say_stands_beside_when_asked_for(client: TestClient) -> None:
    unasked = post(client, "lr-suggestions", lrs=SWEEP, losses=VALLEY)

    answered = post(client, "lr-suggestions", lrs=SWEEP, losses=VALLEY, compare_peers=True)

    expected = asdict(lr_peers.compare(SWEEP, VALLEY))
    assert unasked["peers"] is None
    assert answered["peers"] == {**expected, "warnings": []}
    assert {**answered, "peers": None} == unasked
    assert answered["peers"]["lightning"]["lr"] < answered["recommended"]["lr"] / 100


def test_a_finder_that_would_have_failed_says_why(client: TestClient) -> None:
    losses: list[float | None] = [2.0, *[None] * 15]

    peers = post(client, "lr-suggestions", lrs=SWEEP[:16], losses=losses, compare_peers=True)[
        "peers"
    ]

    assert (peers["torch_lr_finder"], peers["lightning"]) == (None, None)
    assert [(warning["code"], warning["reason"]) for warning in peers["warnings"]] == [
        ("torch_lr_finder_unavailable", "too_few_points"),
        ("lightning_unavailable", "no_finite_loss"),
    ]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"lrs": [0.1, 0.2], "losses": [1.0], "compare_peers": "perhaps"}, "/compare_peers"),
        ({"lrs": [0.1, 0.2], "losses": [1.0]}, "/losses"),
        ({"lrs": [0.2, 0.1], "losses": [1.0, 1.0]}, "/lrs"),
        ({"lrs": [0.1] * 10_001, "losses": [1.0]}, "/lrs"),
    ],
)
def test_a_curve_that_is_none_is_refused(
    client: TestClient, body: dict[str, Any], pointer: str
) -> None:
    response = client.post("/v1/explain/lr-suggestions", json=body)

    problem(response, 422, "validation_failed", pointer)


def test_labels_are_read_and_counted(client: TestClient) -> None:
    names = ["pug_1.jpg", "pug_2.jpg", "Pug_3.jpg", "cat_1.png"]

    answered = post(
        client, "labels", labels={"rule": "regex", "pattern": "^(.+)_\\d+\\.jpg$"}, names=names
    )

    assert [item["label"] for item in answered["items"]] == ["pug", "pug", "Pug", None]
    assert answered["items"][3]["reason"] == "no_match"
    assert answered["classes"] == [{"label": "Pug", "count": 1}, {"label": "pug", "count": 2}]
    assert (answered["matched"], answered["unmatched"]) == (3, 1)
    assert answered["near_duplicates"] == [{"labels": ["Pug", "pug"], "kind": "spelling"}]
    assert answered["hint"]["fixes"] == 1


def test_labels_are_the_names_of_folders(client: TestClient) -> None:
    answered = post(
        client, "labels", labels={"rule": "parent_folder"}, names=["pug/1.jpg", "2.jpg"]
    )

    assert [item["label"] for item in answered["items"]] == ["pug", None]


@pytest.mark.parametrize(("pattern", "code"), [("(", "invalid_regex"), ("^x$", "regex_no_group")])
def test_a_pattern_that_cannot_label_is_refused(
    client: TestClient, pattern: str, code: str
) -> None:
    body = {"labels": {"rule": "regex", "pattern": pattern}, "names": ["x"]}

    refused = problem(client.post("/v1/explain/labels", json=body), 422, code, "/labels/pattern")

    assert repr(pattern) in refused["detail"]


def test_a_pattern_that_would_take_python_for_ever_is_answered_at_once(
    client: TestClient,
) -> None:
    names = ["a" * 4000 + "!"]

    answered = post(client, "labels", labels={"rule": "regex", "pattern": "^((a+)+)$"}, names=names)

    assert answered["unmatched"] == 1


def test_the_schedule_is_the_one_a_fine_tune_uses(client: TestClient) -> None:
    answered = post(
        client,
        "schedule",
        epochs=2,
        freeze_epochs=1,
        steps_per_epoch=4,
        learning_rate={"lowest": 1e-5, "highest": 1e-3},
    )

    plan = FineTunePlan(
        epochs=2,
        freeze_epochs=1,
        steps_per_epoch=4,
        frozen_peaks=(1e-4, 1e-4, 1e-3),
        unfrozen_peaks=(1e-5, 1e-4, 1e-3),
    )
    frozen, unfrozen = fine_tune_phases(plan)
    assert answered["phases"][0]["lr"] == [list(rates) for rates in frozen.lr]
    assert answered["phases"][1]["momentum"] == list(unfrozen.momentum)
    for rates, expected in zip(answered["phases"][1]["lr"], unfrozen.lr, strict=True):
        assert rates == pytest.approx(list(expected))


@pytest.mark.parametrize(
    ("spread", "peaks"),
    [
        ("off", [0.001, 0.001, 0.001]),
        ({"lr_mult": 4}, [0.00025, 0.0005, 0.001]),
        ({"layer_decay": 0.5}, [0.00025, 0.0005, 0.001]),
    ],
)
def test_rates_are_spread_as_asked(client: TestClient, spread: object, peaks: list[float]) -> None:
    answered = post(
        client,
        "schedule",
        epochs=1,
        freeze_epochs=0,
        steps_per_epoch=1,
        learning_rate=0.002,
        discriminative=spread,
        schedule={"pct_start": 0.0, "div": 1},
    )

    assert answered["phases"][1]["lr"][0] == pytest.approx(peaks)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"learning_rate": {"per_group": [0.1, 0.1]}}, "/learning_rate"),
        ({"steps_per_epoch": 100_000}, "/steps_per_epoch"),
        ({"steps_per_epoch": 0}, "/steps_per_epoch"),
        (
            {"learning_rate": {"lowest": 1e-5, "highest": 1e-3}, "discriminative": "off"},
            "/discriminative",
        ),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(
    client: TestClient, change: dict[str, Any], pointer: str
) -> None:
    response = client.post("/v1/explain/schedule", json={"steps_per_epoch": 4, **change})

    problem(response, 422, "validation_failed", pointer)


def test_a_class_beyond_all_numbers_is_refused(client: TestClient) -> None:
    asked = {"activations": [[1.0, 2.0]], "targets": [10**25]}

    response = client.post("/v1/explain/cross-entropy", json=asked)

    problem(response, 422, "validation_failed", "/targets/0")
