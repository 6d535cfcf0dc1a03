"""From a dataset's source to a folder of photos and their names: listed, drawn or unpacked."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from jobs import leases
from jobs.dataset_spec import PathSource, SampleSource, Source, StoreSource
from jobs.disk_budget import least_bytes, require_free
from jobs.sources import paths, sample
from jobs.sources.object_places import Place, place_of
from ml.sample.photos import write_photo
from worker.break_off import for_each, go_on
from worker.context import Context
from worker.failures import JobFailedError
from worker.fetching import ArchiveSource, copied_photos, fetching_share, local_archive
from worker.left_out import LeftOut, in_words, left_out
from worker.progress import ProgressWriter
from worker.unpacking import unpack

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
    found, share_done = _put_there(context, source, folder, label_files)
    context.tell(leases.enter_phase, "listing")
    names = paths.list_photos(folder, most=context.settings.max_files + 1)
    if not names:
        raise _no_photo(source, folder, found)
    return Photos(folder=folder, names=names, share_done=share_done, left_out=found)


def _put_there(
    context: Context,
    source: PathSource | ArchiveSource,
    folder: Path,
    label_files: frozenset[str],
) -> tuple[list[LeftOut], float]:
    """The folder has photos and label files; what was left out, and the share that is done."""
    if isinstance(source, PathSource):
        return [], 0.0
    record = context.artifacts.unpacking_file(str(context.job.dataset_id))
    prefix = _prefix_of(context, source)
    # an attempt after that was done leaves it at that
    if not folder.is_dir():
        if prefix is None:
            _unpack(context, source, folder, record=record, label_files=label_files)
        else:
            copied_photos(context, prefix, folder, record=record, label_files=label_files)
    unpacking_share = _UNPACKING_SHARE if prefix is None else 0.0
    return left_out(record), fetching_share(source) + unpacking_share


def _prefix_of(context: Context, source: ArchiveSource) -> Place | None:
    if not isinstance(source, StoreSource):
        return None
    place = place_of(source.type, source.url, context.settings.remote_roots)
    return None if place.is_archive else place


def _drawn(context: Context, source: SampleSource, folder: Path) -> list[str]:
    context.tell(leases.enter_phase, "drawing")
    plan = sample.sample_plan(photos_per_class=source.photos_per_class, seed=source.seed)
    folder.mkdir(parents=True, exist_ok=True)
    needed_bytes = least_bytes(source, len(plan))
    require_free(folder, needed_bytes, kept_free_bytes=context.settings.min_free_bytes)
    writer = ProgressWriter(context, phase="drawing", span=(0.0, _DRAWING_SHARE))
    for_each(context, writer, partial(_draw, folder), plan)
    return [photo.name for photo in plan]


def _draw(folder: Path, photo: sample.SamplePhoto) -> None:
    write_photo(folder / photo.name, drawn_class=photo.drawn_class, seed=photo.seed)


def _unpack(
    context: Context,
    source: ArchiveSource,
    folder: Path,
    *,
    record: Path,
    label_files: frozenset[str],
) -> None:
    with local_archive(context, source) as archive:
        context.tell(leases.enter_phase, "unpacking")
        writer = ProgressWriter(context, phase="unpacking")
        begin = fetching_share(source)

        def tell(fraction: float, photos: int) -> None:
            go_on(context)
            share = begin + _UNPACKING_SHARE * fraction
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


def _no_photo(source: Source, folder: Path, found: Sequence[LeftOut]) -> JobFailedError:
    where = str(folder) if isinstance(source, PathSource) else "the source"
    beside = f"; it holds {in_words(found)}" if found else ""
    return JobFailedError(
        "too_few_images",
        f"no photo lies in {where}{beside}",
        f"photos are files ending in {', '.join(paths.IMAGE_SUFFIXES)}; "
        "archives inside an archive are not opened",
    )
