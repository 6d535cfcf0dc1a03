"""fastai's fine-tune as its users write it, timed epoch by epoch; where it can be imported."""

import importlib.util
import itertools
import time
from pathlib import Path
from typing import Any

NOT_MEASURED = "fastai cannot be imported here"


def fastai_times(folder: Path, architecture: str, extent: Any) -> Any:  # noqa: ANN401
    """Seconds of each epoch, in float32 and with ``to_fp16``, or why there are none.

    ``extent`` has ``presize``, ``size``, ``batch_sizes``, ``epochs`` and ``loader_workers``.
    """
    if importlib.util.find_spec("fastai") is None:
        return NOT_MEASURED
    return {
        "float32": _times(folder, architecture, extent, half=False),
        "to_fp16": _times(folder, architecture, extent, half=True),
    }


def _times(folder: Path, architecture: str, extent: Any, *, half: bool) -> dict[str, Any]:  # noqa: ANN401
    from fastai.vision import all as fastai  # type: ignore[import-not-found]
    from torchvision import models

    marks_s: list[float] = []

    class Clock(fastai.Callback):  # type: ignore[misc]  # fastai declares no types
        def after_epoch(self) -> None:
            """Its end is kept."""
            marks_s.append(time.perf_counter())

    loaders = fastai.ImageDataLoaders.from_name_re(
        folder,
        fastai.get_image_files(folder),
        r"^(\d+)_\d+\.jpg$",
        item_tfms=fastai.Resize(extent.presize),
        batch_tfms=fastai.aug_transforms(size=extent.size, min_scale=0.75),
        bs=extent.batch_sizes[0],
        num_workers=extent.loader_workers,
        seed=0,
    )
    learner = fastai.vision_learner(
        loaders, getattr(models, architecture), pretrained=False, cbs=[Clock()]
    )
    if half:
        learner = learner.to_fp16()
    began_s = time.perf_counter()
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(extent.epochs)
    return {
        "fine_tune_s": round(time.perf_counter() - began_s, 3),
        "epochs_s": [
            round(after - before, 3) for before, after in itertools.pairwise([began_s, *marks_s])
        ],
    }
