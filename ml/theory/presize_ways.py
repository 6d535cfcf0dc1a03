"""Three ways from a photo to an augmented picture, as geometry: what each resampling reads.

``single`` samples the stored photo once. ``fastai`` cuts out a square, resizes it, turns and
bends it at that size, then crops. ``step_by_step`` resizes first, then bends, turns and enlarges,
one after the other. Coordinates are continuous pixels, as in `presize_geometry`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ml.theory.batch_crop import CropBox
from ml.theory.presize_geometry import (
    AugmentDraws,
    Matrix,
    ResizeBox,
    affine,
    map_points,
    resize_box,
    warp,
)

Way = Literal["single", "fastai", "step_by_step"]
Size = tuple[int, int]

_SLACK_PX = 1e-6
_STILL = np.eye(3)


@dataclass(frozen=True, slots=True)
class Step:
    """One sampling in normalised coordinates: first the affine map, then the perspective."""

    affine: Matrix
    warp: Matrix
    is_exact: bool = False
    """Whether it only moves pixels, such as a mirror, as long as their number stays."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One resampling; ``matrix`` leads from output pixels to input pixels."""

    matrix: Matrix
    input_wh: Size
    is_exact: bool = False
    """Whether it only moves pixels."""


@dataclass(frozen=True, slots=True)
class Route:
    """A way's resamplings, the photo's first; the last one makes a square of ``size`` pixels."""

    stages: tuple[Stage, ...]
    size: int

    @property
    def interpolations(self) -> int:
        """How often pixels are interpolated."""
        return sum(not stage.is_exact for stage in self.stages)

    @property
    def matrix(self) -> Matrix:
        """All stages in one: from pixels of the picture to pixels of the photo."""
        product = _STILL
        for stage in self.stages:
            product = product @ stage.matrix
        composed: Matrix = product / product[2, 2]
        return composed

    def invented(self) -> npt.NDArray[np.bool_]:
        """Which pixels some stage reads beyond its input, so that they reflect; (size, size)."""
        centres = np.arange(self.size) + 0.5
        points = np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 2)
        beyond = np.zeros(len(points), np.bool_)
        for stage in reversed(self.stages):
            points = map_points(stage.matrix, points)
            end = np.array(stage.input_wh) + _SLACK_PX
            beyond |= ((points < -_SLACK_PX) | (points > end)).any(axis=1)
        return beyond.reshape(self.size, self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One photo with its draws, whose crop is in pixels of the stored photo."""

    photo_wh: Size
    stored_wh: Size
    presize: int
    size: int
    draws: AugmentDraws

    def routes(self) -> Mapping[Way, Route]:
        """Each way's resamplings."""
        size_wh = (self.size, self.size)
        scale = (self.photo_wh[0] / self.stored_wh[0], self.photo_wh[1] / self.stored_wh[1])
        storing = Stage(np.diag([*scale, 1.0]), self.photo_wh, self.stored_wh == self.photo_wh)
        sampling = Stage(self.draws.matrix(self.stored_wh, self.size), self.stored_wh)
        resizing, *changes = self.steps()
        stepping = [
            _stage(resizing, self.stored_wh, size_wh, corners=False),
            *(_stage(change, size_wh, size_wh, corners=False) for change in changes),
        ]
        return {
            "single": Route((storing, sampling), self.size),
            "fastai": Route(self._fastai_stages(), self.size),
            "step_by_step": Route((storing, *stepping), self.size),
        }

    def steps(self) -> list[Step]:
        """The resize of the crop, then each change that was drawn, by itself.

        Bend, mirror, turn, enlarge: in this order they make the same map as the single sampling.
        """
        (left, top, side, _), (width, height) = self.draws.crop_xywh, self.stored_wh
        crop = np.array(
            [
                [side / width, 0, (2 * left + side) / width - 1],
                [0, side / height, (2 * top + side) / height - 1],
                [0, 0, 1],
            ]
        )
        return [Step(crop, _STILL), *self._changes()]

    def square(self) -> ResizeBox:
        """The square of the photo that fastai resizes."""
        return resize_box(self.photo_wh, self.presize, place_xy=self.draws.place_xy)

    def crop(self) -> CropBox | None:
        """What fastai crops of the turned square, in whole pixels; None where that is all."""
        short = min(self.stored_wh)
        side = max(1, round(self.presize * self.draws.crop_xywh[2] / short))
        if side >= self.presize:
            return None
        left, top = (
            min(
                max(0, round(self.presize * (edge - place * (length - short)) / short)),
                self.presize - side,
            )
            for edge, place, length in zip(
                self.draws.crop_xywh[:2], self.draws.place_xy, self.stored_wh, strict=True
            )
        )
        return CropBox((top, left), (side, side))

    def turn(self) -> Step:
        """All changes of fastai's square in one sampling."""
        draws = self.draws
        return Step(
            affine(
                flip=draws.flip,
                rotate_deg=draws.rotate_deg,
                zoom=draws.zoom,
                zoom_centre_xy=draws.zoom_centre_xy,
            ),
            warp(draws.warp_xy),
            is_exact=(draws.rotate_deg, draws.zoom, draws.warp_xy) == (0, 1, (0, 0)),
        )

    def _changes(self) -> list[Step]:
        draws, steps = self.draws, []
        if draws.warp_xy != (0, 0):
            steps.append(Step(_STILL, warp(draws.warp_xy)))
        if draws.flip:
            steps.append(Step(affine(flip=True), _STILL, is_exact=True))
        if draws.rotate_deg != 0:
            steps.append(Step(affine(rotate_deg=draws.rotate_deg), _STILL))
        if draws.zoom != 1:
            steps.append(Step(affine(zoom=draws.zoom, zoom_centre_xy=draws.zoom_centre_xy), _STILL))
        return steps

    def _fastai_stages(self) -> tuple[Stage, ...]:
        box, crop, square_wh = self.square(), self.crop(), (self.presize, self.presize)
        (left, top), (width, height) = box.top_left_xy, box.crop_size_wh
        scale = (width / self.presize, height / self.presize)
        cutting = np.array([[scale[0], 0, left], [0, scale[1], top], [0, 0, 1]])
        resize = Stage(cutting, self.photo_wh, scale == (1, 1))
        size_wh = (self.size, self.size)
        if crop is None:
            return resize, _stage(self.turn(), square_wh, size_wh, corners=True)
        (crop_top, crop_left), crop_hw = crop.top_left_yx, crop.size_hw
        window = _stage(Step(_STILL, _STILL), crop_hw, size_wh, corners=True)
        shift = np.array([[1, 0, crop_left], [0, 1, crop_top], [0, 0, 1]])
        return (
            resize,
            _stage(self.turn(), square_wh, square_wh, corners=True),
            Stage(shift @ window.matrix, square_wh, crop_hw == size_wh),
        )


def _stage(step: Step, input_wh: Size, output_wh: Size, *, corners: bool) -> Stage:
    """The step in pixels; with ``corners`` -1 and 1 are the outermost centres, not the edges."""
    inset = 1 if corners else 0
    to_unit, from_unit = np.eye(3), np.eye(3)
    for axis in (0, 1):
        reach = output_wh[axis] - inset
        to_unit[axis, axis], to_unit[axis, 2] = 2 / reach, -1 - inset / reach
        reach = input_wh[axis] - inset
        from_unit[axis, axis], from_unit[axis, 2] = reach / 2, reach / 2 + inset / 2
    matrix: Matrix = from_unit @ step.warp @ step.affine @ to_unit
    return Stage(matrix / matrix[2, 2], input_wh, step.is_exact and input_wh == output_wh)
