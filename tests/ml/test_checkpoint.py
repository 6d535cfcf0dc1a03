from pathlib import Path

import pytest
import torch

from ml.checkpoint import FORMAT, MAGIC, load, save
from ml.errors import CheckpointCorruptError
from ml.training_state import TrainingState

STATE = TrainingState(
    run="abc",
    environment={"precision": "fp32", "batch_size": 4},
    phase="frozen",
    epochs_done=1,
    steps_in_epoch=2,
    global_step=5,
    losses=(0.5, 0.1 + 0.2),
    scores=(("frozen", 0.7, 0.5),),
    trained_s=1.5,
    model={"w": torch.arange(3.0)},
    best_model=None,
    optimizer={"state": {0: {"step": torch.tensor(5.0)}}, "param_groups": [{"lr": 1e-3}]},
    scaler={},
    rng={"cpu": torch.get_rng_state()},
)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    digest = save(tmp_path / "checkpoint", STATE)
    loaded = load(tmp_path / "checkpoint")

    assert len(digest) == 64
    assert loaded.losses == STATE.losses
    assert loaded.environment == STATE.environment
    assert torch.equal(loaded.model["w"], STATE.model["w"])
    assert loaded.optimizer["state"][0]["step"] == 5
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_one_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    save(path, STATE)
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)

    with pytest.raises(CheckpointCorruptError, match="SHA-256"):
        load(path)


@pytest.mark.parametrize("content", [b"", b"something else"])
def test_another_file_is_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "checkpoint"
    path.write_bytes(content)

    with pytest.raises(CheckpointCorruptError, match="no checkpoint of this service"):
        load(path)


@pytest.mark.parametrize(
    ("number", "named"),
    [(FORMAT + 1, "a newer version wrote it, in the format 3"), (1, "an older version wrote it")],
)
def test_a_checkpoint_of_another_format_says_whose_it_is(
    tmp_path: Path, number: int, named: str
) -> None:
    path = tmp_path / "checkpoint"
    save(path, STATE)
    path.write_bytes(path.read_bytes().replace(MAGIC, b"tunesmith checkpoint %d\n" % number))

    with pytest.raises(CheckpointCorruptError, match=named):
        load(path)


def test_a_missing_checkpoint_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointCorruptError, match="No such file"):
        load(tmp_path / "gone")


def test_a_failed_save_keeps_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "checkpoint"

    with pytest.raises(FileNotFoundError):
        save(path, STATE)
    assert list(tmp_path.iterdir()) == []
