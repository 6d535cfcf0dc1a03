"""From a chart to its files: a Vega-Lite specification, an SVG and a PNG, without any network."""

import io
import json
from typing import Any

import vl_convert
from PIL import Image

PIXELS_PER_POINT = 2
"""A PNG has twice the pixels of the page, so that it is sharp in print."""

_WORTH_PACKING = 300_000


def render(chart: Any) -> dict[str, bytes]:  # noqa: ANN401  (any of altair's charts)
    """The chart in each format, by the ending of its file.

    Raises:
        altair.SchemaValidationError: the chart is no valid Vega-Lite.
    """
    specification = json.dumps(chart.to_dict(), ensure_ascii=False, separators=(",", ":"))
    svg = vl_convert.vegalite_to_svg(specification, allowed_base_urls=[])
    return {
        "json": specification.encode(),
        "svg": svg.encode(),
        "png": _packed(vl_convert.svg_to_png(svg, scale=PIXELS_PER_POINT)),
    }


def _packed(png: bytes) -> bytes:
    """The same pixels; of photos the renderer makes files three times as large as they need be."""
    if len(png) < _WORTH_PACKING:
        return png
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()
