"""The pixels of a dataset's parts: where they are kept, in which form, and who makes them."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from jobs import datasets
from jobs.spec import FineTuneSpec, LrFindSpec
from ml.cache import Form, Pixels, Watch, completed, has_entry
from ml.centres import centre_form, open_centres
from ml.config import PresizeMode
from ml.errors import UnreadableImageError
from ml.images import presized_size
from ml.loader import epoch_order
from ml.originals import Originals
from ml.pixel_files import Stored
from ml.presized_pixels import open_pixels
from ml.ranks import Ranks
from worker.context import Context
from worker.failures import JobFailedError
from worker.items import Item, read_items
from worker.keeping import fetch
from worker.listener import JobListener
from worker.runners.training import Part

PRESIZING = "presizing"
"""The phase in which a training waits for its first photos."""


class Sizes(Protocol):
    """How photos are stored and seen: of a training's spec, and of a model's card."""

    @property
    def presize(self) -> int:
        """Short side that photos are stored at, pixels."""

    @property
    def size(self) -> int:
        """Side of the square that the network sees, pixels."""

    @property
    def presize_mode(self) -> PresizeMode:
        """Whether they are stored at all."""


def stored_as(context: Context, part: Part, sizes: Sizes) -> Stored:
    """How a training reads the part's photos: from raw pixels, or from JPEGs of these."""
    if sizes.presize_mode == "fastai":
        return Originals.stored
    return presized_form(context, part.items, sizes.presize).stored


def presized_form(context: Context, items: Sequence[Item], presize: int) -> Form:
    """How the presized photos of all these items are stored together."""
    sizes_wh = (presized_size((item.width or 0, item.height or 0), presize) for item in items)
    raw_bytes = sum(width * height * 3 for width, height in sizes_wh)
    return Form(short_side=presize, stored=_stored(context, raw_bytes))


def training_pixels(
    context: Context, part: Part, sizes: Sizes, *, order: Sequence[int] = ()
) -> Pixels:
    """The part's photos; those that no earlier job has presized are presized from now on.

    Args:
        context: the attempt.
        part: the photos.
        sizes: how they are stored.
        order: all positions, those first that are wanted first.

    Raises:
        StoppedError: the job is to end.
    """
    threads = context.settings.compute_threads
    fetch_photos(context, part, sizes)
    if sizes.presize_mode == "fastai":
        return Originals(part.photos, side=sizes.presize, threads=threads)
    return open_pixels(
        part.photos,
        folder=context.pixels_folder,
        form=presized_form(context, part.items, sizes.presize),
        threads=threads,
        should_stop=lambda: context.control.must_end,
        like=lambda: _same_part_before(context, part),
        order=order,
    )


def fetch_photos(context: Context, part: Part, sizes: Sizes) -> None:
    """The part's photos are on this machine, unless it has them presized.

    Raises:
        OSError: the artifact store does not give them.
        StoppedError: the job is to end.
    """
    if sizes.presize_mode == "fastai" or not are_presized(context, part, sizes, for_training=True):
        fetch(context, [photo.path for photo in part.photos], before=PRESIZING)


def validation_pixels(context: Context, part: Part, sizes: Sizes) -> Pixels:
    """What an evaluation sees of the part's photos; what is not there is made from now on.

    Raises:
        StoppedError: the job is to end.
    """
    if sizes.presize_mode == "fastai":
        return training_pixels(context, part, sizes)
    return open_centres(
        [photo.digest for photo in part.photos],
        lambda: training_pixels(context, part, sizes),
        size=sizes.size,
        form=_centre_form(context, part, sizes),
        folder=context.pixels_folder,
        should_stop=lambda: context.control.must_end,
    )


def are_presized(context: Context, part: Part, sizes: Sizes, *, for_training: bool) -> bool:
    """Whether none of the part's photos would have to be decoded first."""
    if sizes.presize_mode == "fastai":
        return True
    digests, folder = [photo.digest for photo in part.photos], context.pixels_folder
    forms = [presized_form(context, part.items, sizes.presize)]
    if not for_training:
        forms.append(_centre_form(context, part, sizes))
    return any(has_entry(digests, folder=folder, form=form) for form in forms)


def all_there(context: Context, pixels: Pixels, listener: JobListener) -> Pixels:
    """The same pixels, once all of them are made; clients see how far that is.

    Raises:
        StoppedError: the job is to end.
        UnreadableImageError: a photo has changed since the import or cannot be read.
    """
    watch = Watch(listener.presized, lambda: context.control.must_end)
    return completed(pixels, watch)


def pixels_to_train(
    context: Context,
    part: Part,
    spec: LrFindSpec | FineTuneSpec,
    *,
    listener: JobListener,
    ranks: Ranks,
) -> Pixels:
    """The part's photos, those of the first steps presized first; see `opened_in_turn`.

    Raises:
        StoppedError, UnreadableImageError: as `all_there`.
    """
    order = epoch_order(len(part.photos), seed=spec.seed, epoch=0).tolist()
    return opened_in_turn(
        context, listener, ranks, lambda: training_pixels(context, part, spec, order=order)
    )


def opened_in_turn(
    context: Context, listener: JobListener, ranks: Ranks, opened: Callable[[], Pixels]
) -> Pixels:
    """The pixels as ``opened`` gives them; where trainers share them the first one makes them all.

    The others would wait for the end of a build, and the first one for them, as if it were stuck.

    Raises:
        StoppedError, UnreadableImageError: as `all_there`.
    """
    if ranks.is_alone:
        return opened()
    made = all_there(context, opened(), listener) if ranks.is_first else None
    ranks.agreed(None)
    return opened() if made is None else made


@contextlib.contextmanager
def photos_named(parts: Sequence[Part]) -> Iterator[None]:
    """A photo that cannot be read ends the job by its name in the dataset.

    Raises:
        JobFailedError: a photo has changed since the import or cannot be read.
    """
    try:
        yield
    except UnreadableImageError as problem:
        name = next(
            (
                item.path
                for part in parts
                for photo, item in zip(part.photos, part.items, strict=True)
                if photo.path == problem.path
            ),
            problem.path.name,
        )
        raise JobFailedError(
            "unreadable_images",
            f"{name!r} cannot be read: {problem.reason}",
            "the file has changed since the import; register the dataset again",
        ) from problem


def _centre_form(context: Context, part: Part, sizes: Sizes) -> Form:
    raw_bytes = len(part.photos) * sizes.size**2 * 3
    presized = presized_form(context, part.items, sizes.presize)
    return centre_form(presized, size=sizes.size, stored=_stored(context, raw_bytes))


def _stored(context: Context, raw_bytes: int) -> Stored:
    return "jpeg" if raw_bytes > context.settings.pixel_raw_bytes else "raw"


def _same_part_before(context: Context, part: Part) -> Iterator[list[str]]:
    """The digests of this part in the datasets that this one is a version of, the nearest first."""
    splits = {item.split for item in part.items}
    for ancestor in datasets.ancestors(context.database, str(context.job.dataset_id)):
        with contextlib.suppress(FileNotFoundError):
            items = read_items(context.items_file(ancestor))
            yield [str(item.digest) for item in items if item.split in splits]
