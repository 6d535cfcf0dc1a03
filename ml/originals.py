"""The original photos of a list, decoded whenever they are asked for; nothing is kept of them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ml.cache import Pixels
from ml.fastai_pixels import resized
from ml.images import Rgb, decode_as_stored
from ml.photos import LabelledPhoto
from ml.presized_photo import unchanged
from ml.theory.presize_geometry import Pair, resize_box

CENTRE: Pair = (0.5, 0.5)


class Originals(Pixels):
    """Photos by position as fastai's Resize hands them on; stands where stored pixels stand."""

    def __init__(self, photos: Sequence[LabelledPhoto], *, side: int, threads: int) -> None:
        self.photos = photos
        self.side = side
        """Of the squares, in pixels."""
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")

    def __len__(self) -> int:
        """Number of photos."""
        return len(self.photos)

    def photo(self, position: int) -> Rgb:
        """The whole photo, H x W x RGB.

        Raises:
            UnreadableImageError: It cannot be read (any more), or has another digest.
        """
        return decode_as_stored(unchanged(self.photos[position]))

    def squares(self, positions: Sequence[int], places_xy: Sequence[Pair]) -> Rgb:
        """The photos' largest squares, resized to ``side``: shape (B, side, side, 3).

        Args:
            positions: B photos.
            places_xy: Where each square lies in its photo, 0 left or top to 1.

        Raises:
            UnreadableImageError: A photo cannot be read (any more), or has another digest.
        """
        return np.stack(list(self._pool.map(self._square, positions, places_xy)))

    def repeated(self, count: int) -> "Originals":
        """The photos again and again, ``count`` in all; both are closed together."""
        again = Originals.__new__(Originals)
        again.photos = [self.photos[place % len(self.photos)] for place in range(count)]
        again.side, again._pool = self.side, self._pool
        return again

    def close(self) -> None:
        """No photo is asked for any more."""
        self._pool.shutdown(cancel_futures=True)

    def _square(self, position: int, place_xy: Pair) -> Rgb:
        photo = self.photo(position)
        height, width = photo.shape[:2]
        return resized(photo, resize_box((width, height), self.side, place_xy=place_xy))
