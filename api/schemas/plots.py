"""Which plots a job has."""

from pydantic import Field

from api.schemas.resource import JobIdExample, ListOf, Resource, example

_OWN = f"/v1/jobs/{JobIdExample}/plots"


class PlotResource(Resource):
    """One plot of a job."""

    name: str = Field(
        description="lr-curve, loss-curve, lr-schedule, confusion, top-losses, calibration "
        "or presizing-preview; may grow"
    )
    links: dict[str, str] = Field(description="the plot by its format: svg, png, json")

    @classmethod
    def of(cls, job_id: str, name: str, formats: tuple[str, ...]) -> "PlotResource":
        """The plot with this name, in each of these formats."""
        own = f"/v1/jobs/{job_id}/plots/{name}"
        return cls(name=name, links={each: f"{own}.{each}" for each in formats})


class PlotList(ListOf[PlotResource]):
    """The plots that jobs of this type have; some may have nothing to show yet."""

    model_config = example(
        object="list",
        data=[
            {
                "name": "lr-curve",
                "links": {
                    "svg": f"{_OWN}/lr-curve.svg",
                    "png": f"{_OWN}/lr-curve.png",
                    "json": f"{_OWN}/lr-curve.json",
                },
            }
        ],
        has_more=False,
        next_cursor=None,
    )
