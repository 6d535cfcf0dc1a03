"""Takes a few steps of a planned training on the device that would train, and times them."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from jobs.hyperparameters import NO_WEIGHTS, WeightsFromJob, WeightsFromModel
from jobs.spec import FineTuneSpec, LrFindSpec, ProbeSpec
from ml.cache import Pixels
from ml.config import FineTuneConfig
from ml.originals import Originals
from ml.photos import LabelledPhoto
from ml.presized_pixels import open_pixels
from ml.probe import probe, spread_out, weights_file
from ml.progress import StepReport
from worker.context import Context, Ending
from worker.keeping import fetch
from worker.listener import JobListener
from worker.runners.pixels import PRESIZING, all_there, are_presized, presized_form
from worker.runners.training import Material, prepare_device, read_material, take_place
from worker.translate import Surroundings, fine_tune_config

MOST_PHOTOS = 64
"""Photos that are presized for the probe of a larger part that has not been presized yet."""

_PARTS = ("train", "valid")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sight:
    """The photos that the probe looks at."""

    photos: Sequence[LabelledPhoto]
    pixels: Pixels
    presize_photo_s: float
    """Seconds to presize one photo that has not been presized."""


class _QuietListener(JobListener):
    """As a job's own, but steps that nobody keeps are no curve."""

    def step(self, report: StepReport) -> None:
        """Nobody is told."""


def run(context: Context) -> Ending:
    """The times are the job's result.

    Raises:
        MlError: the training could not begin, or the job is to end.
    """
    began_s = time.perf_counter()
    spec = ProbeSpec.model_validate(context.job.spec)
    planned = _as_fine_tune(spec.training)
    device = prepare_device(context, take_place(context))
    material = read_material(context)
    config = _config(context, planned, material)
    known = {
        "start_s": time.perf_counter() - began_s,
        "weights_cached": _has_weights(config),
        "presized": _presized_parts(context, material, planned),
    }
    listener = _QuietListener(context)
    listener.phase("presizing")
    with _sight(context, spec, material, listener) as sight:
        listener.phase("probing")
        found = probe(
            config,
            phases=spec.phases,
            photos=sight.photos,
            pixels=sight.pixels,
            scratch=context.folder,
            listener=listener,
            device=device,
        )
        photo_bytes = _mean_bytes(sight.pixels)
    measured = {
        **known,
        **asdict(found),
        "presize_photo_s": sight.presize_photo_s,
        "photo_bytes": photo_bytes,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
    }
    return Ending(values={"result": {"probe": measured}})


def _as_fine_tune(planned: LrFindSpec | FineTuneSpec) -> FineTuneSpec:
    """A fine-tune whose steps cost what those of the planned training do, whatever its rates."""
    shared = LrFindSpec.model_fields.keys() & FineTuneSpec.model_fields.keys()
    values = {name: getattr(planned, name) for name in shared}
    if isinstance(planned.weights, WeightsFromJob | WeightsFromModel):
        # that model may not exist yet, and its steps cost the same
        values["weights"] = NO_WEIGHTS
    return FineTuneSpec(**values)


def _config(context: Context, planned: FineTuneSpec, material: Material) -> FineTuneConfig:
    around = Surroundings(num_classes=len(material.classes), settings=context.settings)
    config = fine_tune_config(planned, around)
    batch_size = min(planned.batch_size, len(material.part("train").photos))
    return replace(config, data=replace(config.data, batch_size=batch_size))


@contextmanager
def _sight(
    context: Context, spec: ProbeSpec, material: Material, listener: JobListener
) -> Iterator[_Sight]:
    """All training photos where that costs little, else some, whose pixels are not kept."""
    if spec.training.presize_mode == "fastai":
        with closing(_originals(context, spec, material)) as originals:
            yield _Sight(photos=originals.photos, pixels=originals, presize_photo_s=0.0)
        return
    shared = context.pixels_folder
    form = presized_form(context, material.part("train").items, spec.training.presize)

    def opened(photos: Sequence[LabelledPhoto], folder: Path) -> tuple[Pixels, float]:
        fetch(context, [photo.path for photo in photos], before=PRESIZING)
        began_s = time.perf_counter()
        pixels = open_pixels(
            photos,
            folder=folder,
            form=form,
            threads=context.settings.compute_threads,
            should_stop=lambda: context.control.must_end,
        )
        pixels = all_there(context, pixels, listener)
        return pixels, (time.perf_counter() - began_s) / len(photos)

    train = material.part("train").photos
    is_there = are_presized(context, material.part("train"), spec.training, for_training=True)
    keep = is_there or len(train) <= MOST_PHOTOS
    photos = train if keep else spread_out(train, MOST_PHOTOS)
    with TemporaryDirectory(dir=context.folder) as own:
        pixels, photo_s = opened(photos, shared if keep else Path(own))
        with closing(pixels):
            others = spread_out(material.part("valid").photos, MOST_PHOTOS // 2)
            if is_there and spec.fine_tune is not None and others:
                # the photos for validation are still to be presized, or their time is not used
                some, photo_s = opened(others, Path(own))
                some.close()
            yield _Sight(photos=photos, pixels=pixels, presize_photo_s=photo_s)


def _originals(context: Context, spec: ProbeSpec, material: Material) -> Originals:
    photos, threads = material.part("train").photos, context.settings.compute_threads
    fetch(context, [photo.path for photo in photos], before=PRESIZING)
    return Originals(photos, side=spec.training.presize, threads=threads)


def _presized_parts(
    context: Context, material: Material, planned: FineTuneSpec
) -> Mapping[str, bool]:
    """Which parts need no presizing, as they have been presized or will be read as they are."""
    return {
        name: are_presized(context, material.part(name), planned, for_training=name == "train")
        for name in _PARTS
    }


def _has_weights(config: FineTuneConfig) -> bool | None:
    """Whether the weights need no download; None when they are none of torchvision's."""
    file = weights_file(config.model)
    return None if file is None else file.exists()


def _mean_bytes(pixels: Pixels) -> int:
    """What a photo takes where it is read from: in the file of pixels, or in its own."""
    if isinstance(pixels, Originals):
        return sum(photo.path.stat().st_size for photo in pixels.photos) // len(pixels)
    return sum(pixels.photo(place).nbytes for place in range(len(pixels))) // len(pixels)
