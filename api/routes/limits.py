"""Limits: what a caller may ask for and have, and how much of it is used."""

from dataclasses import asdict

from fastapi import APIRouter

from api.auth import CallerDep
from api.dependencies import ServicesDep
from api.envelope import MAX_BODY_BYTES
from api.problems import problem_responses
from api.schemas.limits import LimitsResource, Quotas, SourceSizes
from jobs import quotas

router = APIRouter(prefix="/v1/limits", tags=["System"])


@router.get("", operation_id="getLimits", summary="See the limits", responses=problem_responses())
def get_limits(services: ServicesDep, caller: CallerDep) -> LimitsResource:
    """Requests a minute of the key, what its owner may have, and sizes of sources."""
    settings = services.settings
    with services.database.read() as connection:
        found = quotas.of_owner(connection, settings, caller.owner)
    return LimitsResource(
        requests_per_minute=(settings.rate_limit or None) if caller.key_id else None,
        quotas=Quotas.model_validate({name: asdict(each) for name, each in found.items()}),
        sizes=SourceSizes(
            body_bytes=MAX_BODY_BYTES,
            upload_bytes=settings.max_upload_bytes,
            unpacked_bytes=settings.max_unpacked_bytes,
            photos=settings.max_files,
            classes=settings.max_classes,
            photo_bytes=settings.max_photo_bytes,
            photo_pixels=settings.max_pixels,
        ),
    )
