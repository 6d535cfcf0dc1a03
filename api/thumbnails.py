"""Serves the thumbnails that imports made; no picture is decoded here."""

import re
from typing import Annotated

from fastapi import Query, Response

from api.problems import Problem, at
from jobs.artifacts import Artifacts

SIZES_PX = (64, 256, 512)

ThumbnailSize = Annotated[int, Query(description="longest side, pixels: 64, 256 or 512")]

_ITEM_ID = re.compile(r"itm_[0-9a-f]{32}")


def thumbnail(artifacts: Artifacts, dataset_id: str, item_id: str, size: int) -> Response:
    """The photo's thumbnail, always whole: it is small.

    Raises:
        Problem: there is no such photo or size.
    """
    if size not in SIZES_PX:
        allowed = tuple(str(px) for px in SIZES_PX)
        detail = f"there is no thumbnail of size {size}; use {', '.join(allowed)}"
        raise at("/query/size", "validation_failed", detail, allowed=allowed)
    # the id becomes part of a file name, so nothing but an id may pass
    if not _ITEM_ID.fullmatch(item_id):
        raise Problem("not_found", f"{item_id[:100]!r} is no id of a photo")
    file = artifacts.fetched(artifacts.thumbnail(dataset_id, item_id, size))
    if not file.is_file():
        raise Problem("not_found", f"dataset {dataset_id} has no picture of {item_id}")
    headers = {"Cache-Control": "private, max-age=86400"}
    return Response(file.read_bytes(), media_type="image/jpeg", headers=headers)
