"""A model asked about photos that a request brings along."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from api.auth import CallerDep
from api.dependencies import ServicesDep
from api.hang_up import unless_gone
from api.predict_body import REQUEST_BODY, read_images
from api.predicting import predicted
from api.problems import problem_responses
from api.references import ModelDep
from api.schemas.predictions import Predicted

router = APIRouter(prefix="/v1/models/{model_id}", tags=["Models"])


@router.post(
    "/predict",
    operation_id="predict",
    summary="Ask a model about photos",
    openapi_extra={"requestBody": dict(REQUEST_BODY)},
    responses=problem_responses(
        "malformed_json",
        "not_found",
        "payload_too_large",
        "unsupported_media_type",
        "validation_failed",
        "internal",
        "no_workers",
        "disk_full",
    ),
)
async def predict(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    model: ModelDep,
    top_k: Annotated[int, Query(ge=1, le=1000, description="classes in `top`, at most")] = 5,
) -> Predicted:
    """Logits and probabilities of at most 32 photos, in one body of at most 32 MiB.

    The photos go the way that those of a dataset go, and the numbers are those of a loss ledger in
    float32. A photo that cannot be read has an `error` instead. Nothing is kept.
    """
    images = await read_images(request)
    found = await unless_gone(request, predicted(services, caller, model, images))
    return Predicted.of(model, [image.name for image in images], found, top_k=top_k)
