from worker.resolved import environment_values


def test_of_what_was_used_it_is_said_who_decided() -> None:
    used: dict[str, str | int] = {
        "precision": "bf16",
        "batch_size": 48,
        "pixels_in": "device",
        "compile": "graphed",
        "torch": "2.15",
    }

    values = environment_values(used, batch_size=64, precision="auto")

    assert values == {
        "precision": {"value": "bf16", "origin": "hardware"},
        "batch_size": {"value": 48, "origin": "dataset"},
        "pixels_in": {"value": "device", "origin": "hardware"},
        "compile": {"value": "graphed", "origin": "hardware"},
        "torch": {"value": "2.15", "origin": "environment"},
    }
