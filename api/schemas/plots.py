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

    @classmethod
    def of(cls, job_id: str, names: tuple[str, ...], formats: tuple[str, ...]) -> "PlotList":
        """The plots with these names, each in these formats."""
        own = f"/v1/jobs/{job_id}/plots"
        return cls(
            data=[
                PlotResource(name=name, links={each: f"{own}/{name}.{each}" for each in formats})
                for name in names
            ]
        )
