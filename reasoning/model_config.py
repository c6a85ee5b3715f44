"""What the suite asks of a model's settings, so that nothing is decided by a model's name.

A puzzle model is a class that meets `reasoning.supervision.SegmentModel`, is made by
`Model(config, shape)` and carries its settings' class as `Config`, any pydantic model. What a
`Config` does not answer itself is answered here.
"""

from typing import Any, ClassVar

from reasoning.frozen import Frozen
from reasoning.solver_config import SolverConfig
from reasoning.supervision_config import Depth

SCALES = ("mini", "cpu", "1m", "7m", "27m")
SMALL_SCALES = ("mini", "cpu", "1m")


class ModelConfig(Frozen):
    """Settings of a puzzle model, and what is true of a model that has them.

    nets: nets of its own that share the layers of a scale; depths: the fields of `Depth` that its
    segment reads, None: not known.
    """

    nets: ClassVar[int] = 1
    depths: ClassVar[tuple[str, ...] | None] = None

    @classmethod
    def at_scale(cls, scale: str, puzzle: str) -> dict[str, Any]:
        """Settings that a scale of `SCALES` and a kind of puzzle ask for; by default none, so that
        the model is the same at every scale."""
        return {}

    def recipe(self, scale: str) -> dict[str, Any]:
        """Fields of the run, nested, in which its recipe at a scale differs from the common one,
        say {"optimizer": {"lr": 1e-3}}."""
        return {}

    def shallow(self) -> Depth:
        """The depth that a small scale's curriculum trains at, until its last quarter."""
        return Depth()

    def most_net_calls(self) -> int | None:
        """Calls of the net that a segment of full depth makes; None: not known before it runs."""
        return None

    def solver_settings(self) -> SolverConfig | None:
        """The settings of its solver, which are its field `solver`; None: nothing is solved."""
        return None

    def has_map(self) -> bool:
        """Whether its segments seek a fixed point of the whole state: they tell the Jacobian of its
        map, `SegmentOutput.jacobian`, and the model the map, `map_at(inputs, puzzle_ids, seeds)`,
        which `reproduce fixed-point` looks at."""
        return False

    def reads_carry(self) -> bool:
        """Whether a segment depends on the state that it is given."""
        return True

    def draws(self) -> bool:
        """Whether a segment or its start depends on the seeds."""
        return False

    def symmetric(self) -> bool:
        """Whether its answer follows every exchange of symbols, and of cells that keeps each family
        of units: then images of a question that are not transposed tell nothing new."""
        return False

    def idles_at(self, depth: Depth) -> str | None:
        """Why a segment of this depth would leave its state as it was; None if it would not."""
        return None
