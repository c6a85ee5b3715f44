"""How widely a search at test time looks (`reasoning.search`, `reasoning.judged`); read without
torch."""

from pydantic import Field

from reasoning.frozen import Frozen


class SearchConfig(Frozen):
    """How widely and how noisily a puzzle is searched."""

    breadth: int = Field(1, gt=0, description="starts per puzzle; the first is the model's own")
    noise: float = Field(
        0.0,
        ge=0,
        description="deviation of the normal noise added to the state between segments",
    )
    leave: float | None = Field(
        None,
        gt=0,
        description="residual at which a start whose answer stands leaves the batch; none: never",
    )
    until_claimed: bool = Field(
        False,
        description="a start that claims (halting score above 0) an answer that stands leaves too, "
        "and ends its puzzle",
    )


class JudgeConfig(Frozen):
    """How long a puzzle is searched with the net as judge."""

    calls: int = Field(64, gt=0, description="most nodes of a puzzle that the net is asked about")
    segments: int = Field(4, gt=0, description="segments of the net in each call")
