"""What every configuration is made of."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Settings that do not change: an unknown name is an error, and so is an infinite number."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
