"""Photos that a request brings along, and what a model says of them."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from api.schemas.resource import ModelIdExample, Resource, example
from jobs.dataset_spec import Spec
from jobs.models import Model
from ml.theory import cross_entropy

MOST_IMAGES = 32


class EncodedImage(Spec):
    """One photo inside JSON."""

    data: str = Field(min_length=1, description="the file in base64, RFC 4648 section 4")
    name: str | None = Field(default=None, max_length=255, description="comes back in the answer")


class PredictBody(Spec):
    """Photos as JSON; multipart/form-data with a part `images` for each needs less space."""

    images: Annotated[list[EncodedImage], Field(min_length=1, max_length=MOST_IMAGES)] = Field(
        description="photos in any format that datasets may have"
    )


class Guess(Resource):
    """A class with its numbers."""

    label: str
    p: float = Field(description="softmax of the logit, 0 to 1")
    logit: float


class PhotoProblem(Resource):
    """Why there are no numbers of this photo."""

    code: Literal["unreadable_image"] = "unreadable_image"
    message: str


class PredictedImage(Resource):
    """One photo."""

    name: str | None = Field(description="the file's name, as it was sent")
    top: list[Guess] | None = Field(description="the likeliest classes, likeliest first")
    logits: list[float] | None = Field(description="of all classes, in their order")
    probabilities: list[float] | None = Field(description="their softmax, in the same order")
    error: PhotoProblem | None


class Predicted(Resource):
    """What a model says of some photos, in the order in which they were sent."""

    model_config = example(
        object="prediction",
        model_id=ModelIdExample,
        classes=["beagle", "pug"],
        images=[
            {"name": "rex.jpg", "top": [{"label": "pug", "p": 0.98, "logit": 2.1}],
             "logits": [-1.8, 2.1], "probabilities": [0.02, 0.98], "error": None},
            {"name": "notes.txt", "top": None, "logits": None, "probabilities": None,
             "error": {"code": "unreadable_image",
                       "message": "not an image of a format Pillow can identify"}},
        ],
    )  # fmt: skip

    object: Literal["prediction"] = "prediction"
    model_id: str
    classes: list[str]
    images: list[PredictedImage]

    @classmethod
    def of(
        cls,
        model: Model,
        names: Sequence[str | None],
        found: Sequence[Mapping[str, Any]],
        *,
        top_k: int,
    ) -> "Predicted":
        """The answer; ``found`` has the logits of each photo, or the reason why there are none."""
        return cls(
            model_id=model.id,
            classes=list(model.classes),
            images=[
                _predicted(name, each, model.classes, top_k)
                for name, each in zip(names, found, strict=True)
            ],
        )


def _predicted(
    name: str | None, found: Mapping[str, Any], classes: Sequence[str], top_k: int
) -> PredictedImage:
    if "reason" in found:
        error = PhotoProblem(message=found["reason"])
        return PredictedImage(name=name, top=None, logits=None, probabilities=None, error=error)
    logits: list[float] = found["logits"]
    shares = [float(p) for p in cross_entropy.softmax([logits])[0]]
    likeliest = sorted(range(len(logits)), key=lambda place: -logits[place])[:top_k]
    return PredictedImage(
        name=name,
        top=[
            Guess(label=classes[place], p=shares[place], logit=logits[place]) for place in likeliest
        ],
        logits=logits,
        probabilities=shares,
        error=None,
    )
