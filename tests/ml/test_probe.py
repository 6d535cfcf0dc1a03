"""A probe takes the training's own steps, and never fails for want of memory."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ml.cache import Pixels
from ml.config import FineTuneConfig
from ml.errors import StoppedError
from ml.photos import LabelledPhoto
from ml.probe import STEPS_S, ProbeResult, probe, spread_out, weights_file
from ml.progress import Command
from ml.train import fine_tune
from tests.ml.fakes import RememberingListener, tiny_data, tiny_model

RATES = (1e-3, 1e-3, 1e-3)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for phase in ("frozen", "unfrozen"):
        monkeypatch.setitem(STEPS_S, phase, 0.0)
    monkeypatch.setattr("ml.probe.EVALUATION_S", 0.0)


def config(batch_size: int = 4, freeze_epochs: int = 1) -> FineTuneConfig:
    return FineTuneConfig(
        model=tiny_model(),
        data=tiny_data(batch_size=batch_size),
        epochs=2,
        freeze_epochs=freeze_epochs,
        frozen_peaks=RATES,
        unfrozen_peaks=RATES,
        precision="fp32",
    )


def probed(
    photos: list[LabelledPhoto],
    pixels: Pixels,
    folder: Path,
    *,
    listener: RememberingListener | None = None,
    batch_size: int = 4,
) -> ProbeResult:
    return probe(
        config(batch_size),
        phases=("frozen", "unfrozen"),
        photos=photos,
        pixels=pixels,
        scratch=folder,
        listener=listener or RememberingListener(),
        device=torch.device("cpu"),
    )


def test_every_phase_is_measured_behind_a_step_that_warms_up(
    train: list[LabelledPhoto], pixels: Pixels, tmp_path: Path
) -> None:
    listener = RememberingListener()

    found = probed(train, pixels, tmp_path, listener=listener)

    assert found.fits
    assert {phase: pace.count for phase, pace in found.steps.items()} == {
        "frozen": 1,
        "unfrozen": 1,
    }
    assert [step.phase for step in listener.steps] == ["frozen"] * 2 + ["unfrozen"] * 2
    assert found.evaluation is not None
    assert found.checkpoint_s is not None
    assert list(tmp_path.iterdir()) == []


def test_its_first_step_is_that_of_the_training_to_the_bit(
    train: list[LabelledPhoto], pixels: Pixels, tmp_path: Path, cpu: torch.device
) -> None:
    listener, trained = RememberingListener(), RememberingListener({1: Command.FINISH})

    found = probed(train, pixels, tmp_path, listener=listener)
    outcome = fine_tune(
        config(),
        train=train,
        valid=train,
        pixels=pixels,
        valid_pixels=pixels,
        listener=trained,
        device=cpu,
    )

    assert listener.steps[0].loss == trained.steps[0].loss
    assert found.environment == outcome.resolved


def test_torch_draws_afterwards_as_if_nothing_had_been_drawn(
    train: list[LabelledPhoto], pixels: Pixels, tmp_path: Path
) -> None:
    before = torch.random.get_rng_state()

    probed(train, pixels, tmp_path)

    assert torch.equal(torch.random.get_rng_state(), before)


def test_photos_fewer_than_a_batch_stand_for_more(
    train: list[LabelledPhoto], pixels: Pixels, tmp_path: Path
) -> None:
    found = probed(train, pixels, tmp_path, batch_size=3 * len(train))

    assert found.environment["batch_size"] == 3 * len(train)


@pytest.mark.parametrize("command", [Command.LEAVE, Command.FINISH, Command.ABANDON])
def test_whoever_asks_it_to_end_ends_it(
    train: list[LabelledPhoto], pixels: Pixels, tmp_path: Path, command: Command
) -> None:
    with pytest.raises(StoppedError, match="probing"):
        probed(train, pixels, tmp_path, listener=RememberingListener({1: command}))


_WITHOUT_MEMORY = """
import resource, sys
from pathlib import Path
import torch
from tests.ml.fakes import RememberingListener, make_photos, pixels_of
from tests.ml.test_probe import probed

torch.set_num_threads(1)
folder = Path(sys.argv[1])
photos = make_photos(folder / "photos", 4)
with open("/proc/self/statm") as file:
    mapped = int(file.read().split()[0]) * resource.getpagesize()
pixels = pixels_of(photos, folder / "cache")
resource.setrlimit(resource.RLIMIT_AS, (mapped + 600_000_000,) * 2)
found = probed(photos, pixels, folder, batch_size=4096)
print(found.fits, "unfrozen" in found.steps, found.memory.peak_bytes > 0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not bound address space")
@pytest.mark.slow
def test_a_lack_of_memory_is_an_answer(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _WITHOUT_MEMORY, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )

    assert ended.stdout.split() == ["False", "False", "True"], ended.stderr


@pytest.mark.parametrize(
    ("count", "most", "places"),
    [(4, 8, [0, 1, 2, 3]), (8, 4, [0, 2, 4, 6]), (5, 2, [0, 2]), (0, 4, [])],
)
def test_a_few_photos_come_from_all_over_the_list(
    train: list[LabelledPhoto], count: int, most: int, places: list[int]
) -> None:
    photos = train[:count]

    assert spread_out(photos, most) == [photos[place] for place in places]


def test_only_weights_of_torchvision_have_a_file_in_its_folder(tmp_path: Path) -> None:
    model = tiny_model()

    assert weights_file(model) is None
    for name in ("DEFAULT", "IMAGENET1K_V1"):
        file = weights_file(type(model)(architecture="resnet18", weights=name, num_classes=2))
        assert file is not None
        assert file.name.startswith("resnet18-")
