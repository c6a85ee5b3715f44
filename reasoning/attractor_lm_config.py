"""Settings of the Attractor language model (`reasoning.attractor_lm`)."""

from typing import Any, Literal

from pydantic import Field, model_validator

from reasoning.errors import InputError
from reasoning.language_config import EquilibriumConfig, Injection
from reasoning.names import LARGEST_SEED


class AttractorLMConfig(EquilibriumConfig):
    """Backbone, head and solve."""

    kind: Literal["attractor"] = "attractor"
    width: int = Field(1024, gt=0, description="D, channels of the residual stream")
    backbone_layers: int = Field(7, ge=0, description="blocks applied once")
    head_layers: int = Field(1, gt=0, description="blocks of the head, applied at each evaluation")
    head: Literal["trained", "frozen", "absent"] = Field(
        "trained", description="frozen: keeps its initial weights; absent: the backbone alone"
    )
    injection: Injection = Field("additive", description="how the proposal enters the map")
    start: Literal["proposal", "zero", "gaussian"] = Field(
        "proposal", description="where the solver starts"
    )
    start_deviation: float = Field(1.0, gt=0, description="deviation of a Gaussian start")
    start_seed: int = Field(
        0, ge=0, le=LARGEST_SEED, description="seed of a Gaussian start in evaluation"
    )

    def recipe(self, size: str) -> dict[str, Any]:
        """A lower rate at mini: at 8e-3 that size loses its fixed point at step 240 to 260 and does
        not recover (enwik8, seed 0). The paper's own at 770m."""
        rates = {"mini": (2e-3, 2e-3), "770m": (5e-3, 6e-3)}
        if size not in rates:
            return {}
        lr, muon_lr = rates[size]
        return {"optimizer": {"lr": lr, "muon_lr": muon_lr}}

    def has_map(self) -> bool:
        return self.head != "absent"

    def proposes(self) -> bool:
        return True

    @model_validator(mode="after")
    def _the_proposal_enters_somewhere(self):
        if self.injection == "initial" and self.start != "proposal":
            raise InputError(
                f"injection initial with start {self.start} leaves the map without the text: "
                "set start to proposal"
            )
        return self
