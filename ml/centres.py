"""What validation sees of photos, drawn once: the largest centred square at the final size.

Evaluations read these pixels as they are (`ml.augment.centred_batch`); they are the very ones that
would have been drawn for each of them.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from ml.cache import Form, Pixels, keep
from ml.device import cpu_kind
from ml.images import Rgb
from ml.pixel_files import Stored
from ml.sampling import draw
from ml.theory.presize_geometry import centre_matrix

CENTRE_FORMAT = 1
"""To be raised whenever `ml.sampling.draw` gives other levels than before."""


def centre_form(presized: Form, *, size: int, stored: Stored) -> Form:
    """How squares of ``size`` px are stored that are drawn from photos of that form.

    The levels are those of one kind of CPU and one version of torch, as an evaluation's are.
    """
    made_by = ("centre", CENTRE_FORMAT, size, presized.stored, str(torch.__version__), cpu_kind())
    return Form(short_side=presized.short_side, stored=stored, drawn=made_by)


def open_centres(
    digests: Sequence[str],
    presized: Callable[[], Pixels],
    *,
    size: int,
    form: Form,
    folder: Path,
    should_stop: Callable[[], bool],
) -> Pixels:
    """The photos' centre squares as `ml.cache.keep` gives them: each is size x size x RGB.

    ``presized`` opens the photos that they are drawn from; only where there is no such entry.

    Raises:
        StoppedError: ``should_stop`` said so while another process was building.
    """
    return keep(
        digests,
        lambda: _Centres(presized(), size),
        folder=folder,
        form=form,
        # drawing uses all of torch's threads for each photo
        threads=1,
        should_stop=should_stop,
    )


def centre_of(photo: Rgb, size: int) -> Rgb:
    """The largest centred square of a presized photo, size x size x RGB."""
    height, width = photo.shape[:2]
    levels_3SS = draw(photo, centre_matrix((width, height), size), size)
    return np.ascontiguousarray(levels_3SS.transpose(1, 2, 0))


class _Centres(Pixels):
    """The squares, each drawn when it is asked for."""

    def __init__(self, presized: Pixels, size: int) -> None:
        self._presized = presized
        self._size = size

    def __len__(self) -> int:
        """Number of photos."""
        return len(self._presized)

    def photo(self, position: int) -> Rgb:
        """The square, drawn now."""
        return centre_of(self._presized.photo(position), self._size)

    def close(self) -> None:
        """No square is asked for any more."""
        self._presized.close()
