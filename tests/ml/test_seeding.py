import torch

from ml.seeding import restore_rng_state, rng_state, seeded

CPU = torch.device("cpu")


def test_a_seed_decides_what_is_drawn_inside_and_nothing_after() -> None:
    with seeded(1, CPU):
        first = torch.rand(3)
    torch.manual_seed(9)
    outside = torch.rand(3)
    torch.manual_seed(9)
    with seeded(1, CPU):
        again = torch.rand(3)

    assert torch.equal(first, again)
    assert torch.equal(torch.rand(3), outside)


def test_a_restored_state_draws_the_same_again() -> None:
    state = rng_state(CPU)
    first = torch.rand(3)
    restore_rng_state(state, CPU)

    assert torch.equal(torch.rand(3), first)
