"""Settings of the losses of deep supervision (`reasoning.losses`)."""

from typing import Annotated, Literal

from pydantic import Field

from reasoning.frozen import Frozen

Weight = Annotated[float, Field(gt=0)]


class LossConfig(Frozen):
    """Which cross-entropy, and the weight of the halting loss."""

    cells: Literal["stablemax", "softmax"] = Field("stablemax", description="cell probabilities")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="mass spread over the vocabulary")
    halting: float = Field(0.5, ge=0, description="weight of the halting loss")
    every: bool = Field(
        False,
        description="take the cells' loss at every evaluation or cycle that carries a gradient, "
        "and their mean, not at the last alone",
    )
    candidates: float = Field(
        0.0, ge=0, description="weight of the candidates' loss beside the cross-entropy"
    )
    candidate_weights: tuple[Weight, Weight] = Field(
        (4.0, 0.5), description="in it: of the token that is right, and of each that is wrong"
    )
    jacobian: float = Field(
        0.0,
        ge=0,
        description="weight of |J|^2 a state's element, J the map's Jacobian where a segment ends "
        "(Bai et al. 2021): how far the map is from contracting",
    )
