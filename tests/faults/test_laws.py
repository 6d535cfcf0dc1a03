"""The laws themselves: what they accept and what they refuse."""

import pytest

from jobs.events import Event
from tests.faults.laws import assert_history


def test_a_history_with_two_attempts_is_one_of_two() -> None:
    kinds = ["queued", "started", "progress", "requeued", "started", "progress", "succeeded"]

    assert assert_history(_numbered([f"job.{kind}" for kind in kinds])) == 2


def test_an_attempt_that_was_given_back_in_order_is_not_counted() -> None:
    kinds = ("job.queued", "job.started", "job.requeued", "job.started", "job.succeeded")

    assert assert_history(_numbered(list(kinds), is_counted=False)) == 1


@pytest.mark.parametrize(
    "kinds",
    [
        pytest.param(["queued", "started", "succeeded", "progress"], id="something after the end"),
        pytest.param(["queued", "started", "failed", "succeeded"], id="two ends"),
        pytest.param(["queued", "started"], id="no end"),
        pytest.param(["queued", "started", "started", "succeeded"], id="two attempts at once"),
        pytest.param(["started", "queued", "succeeded"], id="a start before the beginning"),
    ],
)
def test_a_history_that_no_job_may_have_is_refused(kinds: list[str]) -> None:
    with pytest.raises(AssertionError):
        assert_history(_numbered([f"job.{kind}" for kind in kinds]))


@pytest.mark.parametrize("numbers", [(1, 3, 4), (1, 2, 2), (2, 3, 4)])
def test_a_history_with_a_gap_or_a_double_is_refused(numbers: tuple[int, ...]) -> None:
    kinds = ("job.queued", "job.started", "job.succeeded")

    with pytest.raises(AssertionError):
        assert_history([_event(*pair) for pair in zip(numbers, kinds, strict=True)])


def _numbered(kinds: list[str], *, is_counted: bool = True) -> list[Event]:
    return [_event(seq, kind, is_counted=is_counted) for seq, kind in enumerate(kinds, start=1)]


def _event(seq: int, kind: str, *, is_counted: bool = True) -> Event:
    data = {"is_counted": is_counted} if kind == "job.requeued" else {}
    return Event(job_id="job_1", seq=seq, type=kind, data=data, at_ms=0)
