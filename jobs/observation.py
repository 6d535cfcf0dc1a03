"""How processes let themselves be watched; a part of the settings."""

from typing import Literal

from pydantic import BaseModel, Field


class Observation(BaseModel):
    """The part of the settings about logs and metrics."""

    log_format: Literal["console", "json"] = Field(
        default="console", description="how log lines are written"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="least severe line that is logged"
    )
    metrics_host: str = Field(
        default="127.0.0.1", description="address at which workers show their metrics to anybody"
    )
    metrics_port: int = Field(
        default=0,
        ge=0,
        le=65_000,
        description="port of the metrics of a `predict` worker, the next of a `prepare` worker and "
        "the one after of a `train` worker; a further one of a queue takes the third port after "
        "the one before it; 0: none are shown",
    )
