import pytest
import torchvision

from ml.theory import architectures
from ml.theory.architectures import UnknownArchitectureError


@pytest.mark.parametrize("name", architectures.names())
def test_the_table_agrees_with_torchvision(name: str) -> None:
    row = architectures.get(name)
    model = torchvision.models.get_model(name, weights=None)
    sizes = {n: p.numel() for n, p in model.named_parameters()}
    weights = torchvision.models.get_model_weights(name)

    assert [child for child, _ in model.named_children()] == [*row.body, *row.cut]
    assert row.group_parameters == tuple(
        sum(size for n, size in sizes.items() if n.startswith(tuple(f"{g}." for g in group)))
        for group in row.groups
    )
    in_body = sum(size for n, size in sizes.items() if n.split(".")[0] in row.body)
    assert sum(row.group_parameters) == in_body
    assert dict(row.weights) == {w.name: w.url.rsplit("/", 1)[-1] for w in weights}
    assert row.default_weights == weights.DEFAULT.name


def test_an_unknown_name_gets_close_matches() -> None:
    with pytest.raises(UnknownArchitectureError, match="did you mean squeezenet1_1") as caught:
        architectures.get("squeezenet11")

    assert "squeezenet1_0" in caught.value.did_you_mean


def test_every_architecture_has_three_layer_groups() -> None:
    assert {architectures.get(name).layer_groups for name in architectures.names()} == {3}
