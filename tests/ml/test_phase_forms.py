"""Trainings whose steps change their form, on a CPU that is taken for a GPU."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ml import phase_forms
from ml.config import FineTuneConfig
from ml.device import Resolved
from ml.progress import Command
from ml.step_times import StepTimes
from ml.theory import step_forms
from ml.theory.step_forms import Seen, StepForm
from tests.ml import tiny_nets
from tests.ml.fakes import RememberingListener
from tests.ml.tiny_nets import Bench, Course

PHOTOS = tiny_nets.photos(40)
Prepare = Callable[[nn.Module, StepForm, Tensor, Resolved], nn.Module]


class Forms:
    """Prepares no real form, and keeps which were asked for."""

    def __init__(self) -> None:
        self.prepared: list[tuple[StepForm, tuple[int, ...]]] = []
        self.failing: set[StepForm] = set()
        self.passes = 0

    def prepare(
        self, body: nn.Module, form: StepForm, images: Tensor, precision: Resolved
    ) -> nn.Module:
        self.prepared.append((form, tuple(images.shape)))
        if form in self.failing:
            raise RuntimeError(f"{form} needs what is not there\nand a long trace")
        formed = nn.Sequential(body)
        formed.register_forward_hook(lambda *_: self._count())
        return formed

    def _count(self) -> None:
        self.passes += 1


@pytest.fixture
def forms(monkeypatch: pytest.MonkeyPatch) -> Forms:
    """The CPU has all forms, and a trial costs nothing."""
    found = Forms()
    monkeypatch.setattr(phase_forms, "prepared", found.prepare)
    monkeypatch.setattr(
        phase_forms, "usable_forms", lambda body, device: ("eager", "graphed", "compiled")
    )
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    monkeypatch.setattr(
        step_forms, "GUESSED_PREPARE_S", dict.fromkeys(step_forms.GUESSED_PREPARE_S, 0.0)
    )
    return found


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def course(bench: Bench, step_times: Path | None, **changes: object) -> Course:
    config: FineTuneConfig = bench.config(epochs=4, **changes)
    return bench.run(config, train=PHOTOS, step_times=step_times)


def losses(course: Course) -> list[float]:
    return [step.loss for step in course.listener.steps]


def only_file(folder: Path) -> Path:
    (file,) = folder.glob("*.json")
    return file


def test_forms_are_tried_from_epoch_to_epoch_and_the_losses_stay_the_same(
    bench: Bench, forms: Forms, tmp_path: Path
) -> None:
    changing = course(bench, tmp_path, freeze_epochs=0)

    tried = [form for form, _ in forms.prepared]
    assert tried[:2] == ["graphed", "compiled"]
    assert {shape for _, shape in forms.prepared} == {(4, 3, tiny_nets.SIZE_PX, tiny_nets.SIZE_PX)}
    assert forms.passes >= 2 * len(PHOTOS) // 4  # an epoch of each
    assert losses(changing) == losses(course(bench, None, freeze_epochs=0))
    seen = json.loads(only_file(tmp_path).read_text())["forms"]
    assert seen.keys() == {"eager", "graphed", "compiled"}
    assert seen["eager"]["prepare_s"] == 0


def test_each_phase_has_times_of_its_own(bench: Bench, forms: Forms, tmp_path: Path) -> None:
    course(bench, tmp_path, freeze_epochs=2)

    kinds = [json.loads(file.read_text())["kind"] for file in tmp_path.glob("*.json")]
    assert len({kind["trained"] for kind in kinds}) == 2
    assert {kind["gpu"] for kind in kinds} == {"a GPU"}


def test_a_later_training_begins_with_what_was_best(
    bench: Bench, forms: Forms, tmp_path: Path
) -> None:
    first = course(bench, tmp_path, freeze_epochs=0)
    kind = json.loads(only_file(tmp_path).read_text())["kind"]
    eager, best = Seen(prepare_s=0, step_s=9.0), Seen(prepare_s=0.1, step_s=1e-9)
    StepTimes(tmp_path, kind).write({"eager": eager, "graphed": eager, "compiled": best})
    forms.prepared, forms.passes = [], 0

    second = course(bench, tmp_path, freeze_epochs=0)

    assert [form for form, _ in forms.prepared][:1] == ["compiled"]
    assert forms.passes > 0
    assert losses(second) == losses(first)


def test_a_form_that_cannot_be_prepared_is_warned_of_once_and_changes_nothing(
    bench: Bench, forms: Forms, tmp_path: Path
) -> None:
    forms.failing = {"graphed", "compiled"}

    found = course(bench, tmp_path, freeze_epochs=0)

    assert [form for form, _ in forms.prepared] == ["graphed", "compiled"]
    assert found.listener.warnings == ["form_not_prepared"] * 2
    assert found.listener.details == [
        f"no step is {form}: {form} needs what is not there" for form in ("graphed", "compiled")
    ]
    assert losses(found) == losses(course(bench, None, freeze_epochs=0))


@pytest.mark.parametrize("changes", [{"accumulate": 2}, {"step_times": None}])
def test_where_gradients_add_up_or_nothing_was_asked_steps_stay_eager(
    changes: dict[str, object], bench: Bench, forms: Forms, tmp_path: Path
) -> None:
    folder = changes.pop("step_times", tmp_path)
    course(bench, None if folder is None else tmp_path, **changes)

    assert forms.prepared == []
    assert list(tmp_path.iterdir()) == []


def test_on_a_cpu_steps_are_eager_and_nothing_is_written(bench: Bench, tmp_path: Path) -> None:
    found = course(bench, tmp_path)

    assert "compile" not in found.outcome.resolved
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_a_formed_step_is_that_of_an_eager_one(
    bench: Bench, forms: Forms, tmp_path: Path
) -> None:
    config = bench.config(epochs=4, freeze_epochs=0)
    whole = bench.run(config, train=PHOTOS, step_times=tmp_path / "whole")

    leaving = RememberingListener(commands={24: Command.LEAVE})
    bench.run(config, train=PHOTOS, step_times=tmp_path / "left", listener=leaving)
    rest = bench.run(config, train=PHOTOS, resume=leaving.states[-1])

    assert losses(whole)[-len(losses(rest)) :] == losses(rest)
    assert all(torch.equal(whole.weights[name], rest.weights[name]) for name in whole.weights)


@pytest.mark.filterwarnings("default")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_losses_of_real_forms_are_those_of_eager_steps(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = dict.fromkeys(step_forms.GUESSED_PREPARE_S, 0.0)
    monkeypatch.setattr(step_forms, "GUESSED_PREPARE_S", at_once)
    config, many, gpu = bench.config(epochs=4), tiny_nets.photos(160), torch.device("cuda")

    changing = bench.run(config, train=many, step_times=tmp_path, device=gpu)

    eager = bench.run(config, train=many, device=gpu)
    assert "form_not_prepared" not in changing.listener.warnings
    assert losses(changing) == pytest.approx(losses(eager), rel=0.02)
    tried = [
        form for file in tmp_path.glob("*.json") for form in json.loads(file.read_text())["forms"]
    ]
    assert {"eager", "graphed"} <= set(tried)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"forms": {"eager": {"step_s": 0}}}', b"\xff"])
def test_a_damaged_file_of_times_is_as_good_as_none(content: bytes, tmp_path: Path) -> None:
    times = StepTimes(tmp_path, {"gpu": "a GPU"})
    times.write({"eager": Seen(prepare_s=0, step_s=1)})
    assert times.read() == {"eager": Seen(prepare_s=0, step_s=1)}

    times.file.write_bytes(content)

    assert times.read() == {}


def test_times_of_another_kind_are_not_taken(tmp_path: Path) -> None:
    StepTimes(tmp_path, {"gpu": "one"}).write({"eager": Seen(prepare_s=0, step_s=1)})

    assert StepTimes(tmp_path, {"gpu": "other"}).read() == {}
