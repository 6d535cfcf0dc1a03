"""What routes ask for by type: the services, and paths to things that must exist."""

from typing import Annotated

from fastapi import Depends, Path, Request

from api.services import Services


async def get_services(request: Request) -> Services:
    """The services of this process."""
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(get_services)]

JobIdPath = Annotated[
    str, Path(max_length=64, description="id of a job", examples=["job_01jd2s4ah2f3kv8m6q0x5w9c7e"])
]
DatasetIdPath = Annotated[
    str,
    Path(max_length=64, description="id of a dataset", examples=["ds_01jd2s4ah2f3kv8m6q0x5w9c7e"]),
]
ModelIdPath = Annotated[
    str,
    Path(
        max_length=64,
        description="id or alias of a model",
        examples=["mdl_01jd2s4ah2f3kv8m6q0x5w9c7e"],
    ),
]
UploadIdPath = Annotated[
    str,
    Path(max_length=64, description="id of an upload", examples=["upl_01jd2s4ah2f3kv8m6q0x5w9c7e"]),
]
ItemIdPath = Annotated[
    str,
    Path(
        max_length=64,
        description="id of a photo",
        examples=["itm_6b1f2ad3c40e5b7c9d8e0f1a2b3c4d5e"],
    ),
]
