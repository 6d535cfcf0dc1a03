"""How a finished job is done again, here or elsewhere."""

from typing import Any, Literal

from pydantic import Field

from api.schemas.resource import JobIdExample, ModelIdExample, Resource, example


class RepeatedRequest(Resource):
    """The request with every value that the job found out written out."""

    method: Literal["POST"] = "POST"
    path: str
    body: dict[str, Any]


class Reproduction(Resource):
    """What repeats a job to the same numbers."""

    model_config = example(
        object="reproduction",
        job_id=JobIdExample,
        request={
            "method": "POST",
            "path": "/v1/fine-tunes",
            "body": {"dataset": "ds_01jd2s4ah2f3kv8m6q0x5w9c7e", "learning_rate": 0.0014},
        },
        curl="curl -s http://127.0.0.1:8000/v1/fine-tunes -H 'Content-Type: application/json' "
        '-d \'{"dataset": "ds_01jd2s4ah2f3kv8m6q0x5w9c7e", "learning_rate": 0.0014}\'',
        same_when={"device": "cpu", "torch_threads": 2, "torch": "2.11.0"},
        versions={"service": "0.1.0", "torch": "2.11.0", "torchvision": "0.26.0"},
        digests={"dataset": "4c1d", "model": "9f2c", "ledger": "77aa"},
        expected={"loss": 0.31},
        notes=[],
        links={
            "job": f"/v1/jobs/{JobIdExample}",
            "script": f"/v1/jobs/{JobIdExample}/reproduce?format=script",
            "model": f"/v1/models/{ModelIdExample}/download",
        },
    )

    object: Literal["reproduction"] = "reproduction"
    job_id: str
    request: RepeatedRequest
    curl: str = Field(description="the same as a command")
    same_when: dict[str, Any] = Field(
        description="what decides bits beside the request: on a machine that has the same, losses "
        "and weights are identical; elsewhere they are equal up to rounding at first"
    )
    versions: dict[str, str] = Field(description="of all that had a part in it")
    digests: dict[str, str] = Field(
        description="SHA-256 of the dataset, the model file and the ledger, as far as there are"
    )
    expected: dict[str, float] = Field(description="what the second run comes to")
    notes: list[str] = Field(description="what keeps a second run from being the same")
    links: dict[str, str] = Field(description="`script` repeats the evaluation without the service")
