"""The presized photos of a list, each decoded once for all who want them."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ml.cache import Form, Pixels, at_once, keep
from ml.images import Rgb
from ml.photos import LabelledPhoto
from ml.presized_photo import presized_photo


def open_pixels(  # noqa: PLR0913  # each is a plain fact that callers hold separately
    photos: Sequence[LabelledPhoto],
    *,
    folder: Path,
    form: Form,
    threads: int,
    should_stop: Callable[[], bool],
    like: Callable[[], Iterable[Sequence[str]]] = tuple,
    order: Sequence[int] = (),
) -> Pixels:
    """The presized photos in the given order, as `ml.cache.keep` gives them.

    ``like`` tells, when an entry is built, the digests of lists whose entries may hold some of its
    photos: these are copied from the first such entry that is there.

    Raises:
        StoppedError: ``should_stop`` said so while another process was building.
    """

    def source() -> Pixels:
        return _Files(photos, form.short_side, _held(folder, like(), form))

    digests = [photo.digest for photo in photos]
    return keep(
        digests,
        source,
        folder=folder,
        form=form,
        threads=threads,
        should_stop=should_stop,
        order=order,
    )


class _Files(Pixels):
    """The photos themselves, presized whenever one is asked for, or read where they are held."""

    def __init__(
        self, photos: Sequence[LabelledPhoto], short_side: int, held: "_Held | None"
    ) -> None:
        self._photos = photos
        self._short_side = short_side
        self._held = held

    def __len__(self) -> int:
        """Number of photos."""
        return len(self._photos)

    def photo(self, position: int) -> Rgb:
        """The photo, presized now.

        Raises:
            UnreadableImageError: It cannot be read (any more), or has another digest.
        """
        photo = self._photos[position]
        held = None if self._held is None else self._held.find(photo.digest)
        return presized_photo(photo, self._short_side) if held is None else held

    def close(self) -> None:
        """No photo is asked for any more."""
        if self._held is not None:
            self._held.pixels.close()


class _Held:
    """The photos of a whole entry, by digest."""

    def __init__(self, pixels: Pixels, digests: Sequence[str]) -> None:
        self.pixels = pixels
        self._place = {digest: position for position, digest in enumerate(digests)}

    def find(self, digest: str) -> Rgb | None:
        position = self._place.get(digest)
        return None if position is None else self.pixels.photo(position)


def _held(folder: Path, like: Iterable[Sequence[str]], form: Form) -> _Held | None:
    """The photos of the first of these lists whose entry is there."""
    for digests in like:
        pixels = at_once(digests, folder=folder, form=form)
        if pixels is not None:
            return _Held(pixels, digests)
    return None
