import pytest
import torch

from ml.pending import Pending

CPU = torch.device("cpu")


def filled(chunk: int | None, count: int) -> Pending[int]:
    pending = Pending[int](CPU, chunk=chunk)
    for number in range(count):
        pending.add(number, torch.tensor(number / 2))
    return pending


def test_on_the_cpu_a_result_is_there_at_once() -> None:
    assert filled(None, 1).take() == [(0, torch.tensor(0.0))]


@pytest.mark.parametrize(("added", "taken"), [(2, 0), (3, 0), (5, 0), (6, 3), (8, 3), (9, 6)])
def test_a_chunk_is_taken_when_another_has_been_asked_for(added: int, taken: int) -> None:
    found = filled(3, added).take()

    assert [(label, result.item()) for label, result in found] == [(n, n / 2) for n in range(taken)]


def test_in_the_end_everything_is_taken_once_and_in_order() -> None:
    pending = filled(3, 8)
    first = pending.take()

    rest = pending.take(everything=True)

    assert [label for label, _ in first + rest] == list(range(8))
    assert pending.take(everything=True) == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_results_of_a_gpu_arrive_on_the_cpu() -> None:
    gpu = torch.device("cuda")
    pending = Pending[int](gpu, chunk=2)

    for number in range(5):
        pending.add(number, torch.full((3,), number, device=gpu).square())

    found = pending.take(everything=True)
    assert [(label, result.tolist()) for label, result in found] == [
        (number, [number**2] * 3) for number in range(5)
    ]
