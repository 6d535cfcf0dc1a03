"""How much one owner may have at once, and one key may ask; a part of the settings."""

from pydantic import BaseModel, Field


class QuotaLimits(BaseModel):
    """The part of the settings that keeps owners from each other's room; 0 is any amount."""

    max_datasets: int = Field(
        default=0, ge=0, description="datasets that one owner may have; 0: any number"
    )
    max_stored_bytes: int = Field(
        default=0, ge=0, description="bytes of uploads that one owner may have; 0: any number"
    )
    max_unfinished_jobs: int = Field(
        default=0, ge=0, description="jobs of one owner that may wait or run; 0: any number"
    )
    rate_limit: int = Field(
        default=1200, ge=0, description="requests a minute that one API key may send; 0: any number"
    )
