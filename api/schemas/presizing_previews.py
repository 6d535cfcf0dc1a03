"""What a presizing preview has measured."""

from typing import Literal

from pydantic import Field

from api.schemas.resource import (
    DatasetIdExample,
    ItemIdExample,
    JobIdExample,
    Resource,
    example,
)

Corners = list[tuple[float, float]]


class PreviewDraws(Resource):
    """The changes of one photo, the same for every way; light is never changed."""

    crop: tuple[float, float, float, float] = Field(
        description="left, top, width and height of the crop, pixels of the photo"
    )
    flip: bool = Field(description="mirrored left to right")
    rotate_deg: float = Field(description="degrees, clockwise")
    zoom: float
    zoom_centre: tuple[float, float] = Field(
        description="what the zoom leaves in place, shares of width and height"
    )
    warp: tuple[float, float] = Field(description="perspective, across and down")


class WayMeans(Resource):
    """Means over the photos that have the number."""

    interpolations: float = Field(description="times that pixels were interpolated")
    high_frequency_energy: float | None = Field(
        description="mean squared difference of grey neighbours, along rows plus along columns"
    )
    original_energy: float | None = Field(
        description="the same of the original's region, for the same pixels"
    )
    energy_kept: float | None = Field(
        description="high_frequency_energy over original_energy; above 1 it is detail that the "
        "original does not have"
    )
    psnr_db: float | None = Field(
        description="signal-to-noise ratio against the original's region; null when equal"
    )
    invented_pixels: float = Field(
        description="share that reflects, because it lies beyond what was there to read"
    )
    ms_per_image: float = Field(description="milliseconds on the machine of measured_on")


class WayNumbers(WayMeans):
    """What one way made of one photo; energies and psnr_db leave invented pixels out."""

    interpolations: int = Field(description="times that pixels were interpolated")
    outline: Corners = Field(
        description="where the picture's corners lie in the photo, pixels, clockwise"
    )
    detail: tuple[int, int] = Field(
        description="left and top of the detail that the plot enlarges, pixels of the picture"
    )


class PreviewImage(Resource):
    """One photo in three ways."""

    item_id: str
    path: str
    label: str | None
    split: str | None
    width: int = Field(description="pixels, upright")
    height: int
    draws: PreviewDraws
    detail_px: int = Field(description="side of the detail, pixels of the picture")
    ways: dict[str, WayNumbers] = Field(description="single, fastai, step_by_step; may grow")


class SkippedImage(Resource):
    """A photo that was chosen and cannot be read."""

    item_id: str
    path: str
    reason: str = Field(examples=["it is not the file that was imported"])


class MeasuredOn(Resource):
    """The machine that ms_per_image is of."""

    host: str
    machine: str
    threads: int


_NUMBERS = {
    "interpolations": 2,
    "high_frequency_energy": 0.0121,
    "original_energy": 0.0118,
    "energy_kept": 1.025,
    "psnr_db": 41.1,
    "invented_pixels": 0.015,
    "ms_per_image": 0.8,
}
_WAY = {
    **_NUMBERS,
    "outline": [[121.5, 183.2], [610.4, 21.9], [930.0, 401.7], [402.8, 790.6]],
    "detail": [50, 73],
}
_WAYS = ("single", "fastai", "step_by_step")
_OWN = f"/v1/jobs/{JobIdExample}/plots/presizing-preview"


class PresizingPreview(Resource):
    """Presizing beside two other ways, photo by photo, with the same draws."""

    model_config = example(
        object="presizing_preview",
        job_id=JobIdExample,
        dataset_id=DatasetIdExample,
        presize=460,
        size=224,
        images=[
            {
                "item_id": ItemIdExample,
                "path": "beagle_87.jpg",
                "label": "beagle",
                "split": "train",
                "width": 1000,
                "height": 750,
                "draws": {"crop": [125, 0, 750, 750], "flip": False, "rotate_deg": 30, "zoom": 1.2,
                          "zoom_centre": [0.5, 0.5], "warp": [-0.2, 0.2]},
                "detail_px": 74,
                "ways": {way: _WAY for way in _WAYS},
            }
        ],
        skipped=[],
        means={way: _NUMBERS for way in _WAYS},
        measured_on={"host": "worker-1", "machine": "x86_64", "threads": 2},
        links={each: f"{_OWN}.{each}" for each in ("png", "svg", "json")},
    )  # fmt: skip

    object: Literal["presizing_preview"] = "presizing_preview"
    job_id: str
    dataset_id: str
    presize: int
    size: int
    images: list[PreviewImage]
    skipped: list[SkippedImage]
    means: dict[str, WayMeans] = Field(description="single, fastai, step_by_step; may grow")
    measured_on: MeasuredOn
    links: dict[str, str] = Field(description="the pictures beside each other: png, svg, json")
