import pytest
import torch

from ml.feed import fed

CPU = torch.device("cpu")


def test_on_the_cpu_batches_are_made_ahead_in_order() -> None:
    with fed(range(5), lambda key: torch.tensor(key), CPU) as ready:
        assert [int(value) for value in ready] == [0, 1, 2, 3, 4]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_what_a_stream_of_its_own_has_made_is_whole_when_it_is_used() -> None:
    gpu = torch.device("cuda")
    large = torch.randn(2000, 2000, device=gpu)

    def make(key: int) -> torch.Tensor:
        product = large
        for _ in range(10):
            product = product @ large / 50
        return product * 0 + key

    with fed(range(8), make, gpu) as ready:
        means = [value.mean() for value in ready]

    assert [mean.item() for mean in means] == list(range(8))
