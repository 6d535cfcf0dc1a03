"""From a dataset's source to a folder of photos and their names: listed, drawn or unpacked."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from jobs import leases
from jobs.dataset_spec import PathSource, SampleSource, Source, UploadSource
from jobs.sources import paths, sample
from ml.sample.photos import write_photo
from worker.break_off import for_each, go_on
from worker.context import Context
from worker.failures import JobFailedError
from worker.fetching import FETCHING_SHARE, local_archive
from worker.progress import ProgressWriter
from worker.unpacking import LeftOut, in_words, left_out, unpack

_DRAWING_SHARE = 0.7
_UNPACKING_SHARE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Photos:
    """The photos of a source; ``share_done`` is how much of the import is over with them."""

    folder: Path
    names: Sequence[str]
    share_done: float
    left_out: Sequence[LeftOut] = ()


def photos_of(
    context: Context, source: Source, *, label_files: frozenset[str] = frozenset()
) -> Photos:
    """The source's photos, of which there is at least one, in a folder on this machine.

    Files with the names of ``label_files`` are in the folder, too, where the source has them.

    Raises:
        JobFailedError: there is none, or the source cannot be had.
        JobsError: the source is forbidden, unreachable, broken or too large.
        StoppedError: it was broken off.
    """
    folder = context.photos_folder(str(context.job.dataset_id), source)
    if isinstance(source, SampleSource):
        return Photos(
            folder=folder, names=_drawn(context, source, folder), share_done=_DRAWING_SHARE
        )
    found: list[LeftOut] = []
    if isinstance(source, UploadSource):
        found = _unpacked(context, source, folder, label_files)
    context.tell(leases.enter_phase, "listing")
    names = paths.list_photos(folder)
    if not names:
        raise _no_photo(source, folder, found)
    share_done = 0.0 if isinstance(source, PathSource) else _UNPACKING_SHARE
    return Photos(folder=folder, names=names, share_done=share_done, left_out=found)


def _drawn(context: Context, source: SampleSource, folder: Path) -> list[str]:
    context.tell(leases.enter_phase, "drawing")
    plan = sample.sample_plan(photos_per_class=source.photos_per_class, seed=source.seed)
    folder.mkdir(parents=True, exist_ok=True)
    writer = ProgressWriter(context, phase="drawing", span=(0.0, _DRAWING_SHARE))
    for_each(context, writer, partial(_draw, folder), plan)
    return [photo.name for photo in plan]


def _draw(folder: Path, photo: sample.SamplePhoto) -> None:
    write_photo(folder / photo.name, drawn_class=photo.drawn_class, seed=photo.seed)


def _unpacked(
    context: Context, source: UploadSource, folder: Path, label_files: frozenset[str]
) -> list[LeftOut]:
    """The folder has the archive's photos; an attempt after that was done leaves it at that."""
    record = context.artifacts.unpacking_file(str(context.job.dataset_id))
    if not folder.is_dir():
        archive = local_archive(context, source)
        context.tell(leases.enter_phase, "unpacking")
        writer = ProgressWriter(context, phase="unpacking")

        def tell(fraction: float, photos: int) -> None:
            go_on(context)
            share = FETCHING_SHARE + (_UNPACKING_SHARE - FETCHING_SHARE) * fraction
            writer.write({"fraction": share, "phase": "unpacking", "step": photos}, {})

        unpack(
            archive,
            folder,
            record=record,
            partial=context.artifacts.partial_photos_folder(
                str(context.job.dataset_id), context.job.fence
            ),
            limits=context.settings,
            tell=tell,
            label_files=label_files,
        )
    return left_out(record)


def _no_photo(source: Source, folder: Path, found: Sequence[LeftOut]) -> JobFailedError:
    where = str(folder) if isinstance(source, PathSource) else "the archive"
    beside = f"; it holds {in_words(found)}" if found else ""
    return JobFailedError(
        "too_few_images",
        f"no photo lies in {where}{beside}",
        f"photos are files ending in {', '.join(paths.IMAGE_SUFFIXES)}; "
        "archives inside an archive are not opened",
    )
