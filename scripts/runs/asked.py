"""What an evaluation is asked for, and whether a run has it; read without torch."""

import hashlib
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from puzzles.kinds import puzzle_of
from reasoning.search_config import JudgeConfig
from reasoning.supervision_config import Depth
from scripts.runs.search_plan import Plan
from scripts.usage import UsageError

if TYPE_CHECKING:  # its presets take a tenth of a second, which a refusal need not wait for
    from scripts.models.presets import RunConfig

Leave = float | Literal["rest", "converged", "claimed", "never"]

# Residual to leave at, of the solver's tolerance.
_LEAVE = {"rest": 1e-3, "claimed": 1e-3, "converged": 1.0}


@dataclass(frozen=True)
class Asked:
    """A plan of search and what is the run's own where it is None: segments, the solver's
    evaluations and tolerance. UsageError for what no run has.

    leave: when a start leaves the batch, see `loopbench evaluate`; the plan has it as a number,
        which of "rest", "claimed" and "converged" a run's solver tells.
    """

    plan: Plan
    leave: Leave = "rest"
    segments: int | None = None
    evaluations: int | None = None
    tolerance: float | None = None

    def __post_init__(self) -> None:
        if self.tolerance is not None and not 0 < self.tolerance < math.inf:
            raise UsageError(f"--tolerance: must be finite and above 0 (got {self.tolerance})")
        if self.leave == "claimed" and self.plan.select == "majority":
            raise UsageError("--select majority: with --leave claimed who never ran has no vote")

    @property
    def depth(self) -> Depth:
        return Depth(evaluations=self.evaluations)

    def plan_of(self, config: "RunConfig", kind: str) -> Plan:
        """The plan with the residual at which a start leaves, for a run's configuration and the
        kind of its puzzles. UsageError for what they do not have."""
        self.check(config, kind)
        solver = config.model.solver_settings()
        if self.leave not in _LEAVE or solver is None or self.evaluations == 0:
            return self.plan
        leave = _LEAVE[self.leave] * (self.tolerance or solver.tolerance)
        return self.plan.model_copy(update={"leave": leave})

    def check(self, config: "RunConfig", kind: str) -> None:
        """UsageError for what a model or a kind of puzzles does not have."""
        model = config.model
        solver = model.solver_settings()
        for option in ("evaluations", "tolerance"):
            if getattr(self, option) is not None and solver is None:
                raise UsageError(f"--{option}: a {model.kind} has no solver; leave it out")
        if model.idles_at(self.depth) is not None:
            raise UsageError("--evaluations 0: gives this model nothing to do; take 1 or more")
        images = puzzle_of(kind).images
        if images is not None and self.plan.symmetries > images:
            raise UsageError(f"--symmetries: a {kind} has {images} (got {self.plan.symmetries})")
        if self.leave == "converged" and (solver is None or self.evaluations == 0):
            raise UsageError("--leave converged: nothing is solved here, so none converges")
        if self.leave == "claimed" and (self.segments or config.supervision.segments) < 2:
            raise UsageError(
                "--leave claimed: an answer stands from the second segment on; run 2 or more"
            )


def judging(calls: int | None, segments: int | None) -> JudgeConfig:
    """The search with the net as judge; None: its default."""
    given = {"calls": calls, "segments": segments}
    return JudgeConfig(**{name: value for name, value in given.items() if value is not None})


def settings_hash(settings: dict[str, Any]) -> str:
    """Names these settings, in 12 hexadecimal digits."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
