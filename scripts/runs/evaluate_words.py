"""The words of `loopbench evaluate`, and whether a run has what they ask for; without torch."""

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from puzzles.kinds import puzzle_of
from reasoning.names import Activations, Device
from reasoning.search_config import JudgeConfig
from reasoning.supervision_config import Depth
from scripts.runs.hub_names import expect_weights, is_named
from scripts.runs.search_plan import Plan
from scripts.terminal.choices import Headline
from scripts.terminal.folders import expect, expect_weights_of, keep_apart
from scripts.usage import UsageError, at_least, given

if TYPE_CHECKING:  # its presets take a tenth of a second, which a refusal need not wait for
    from scripts.models.presets import RunConfig

# Residual to leave at, of the solver's tolerance.
_LEAVE = {"rest": 1e-3, "claimed": 1e-3, "converged": 1.0}


@dataclass(frozen=True)
class Effort:
    """How much a puzzle is thought about, and which answer counts."""

    segments: int | None = None
    """depth, segments per start; none: as the run was configured."""
    breadth: int = 1
    """starts per puzzle; the first is the model's own, the others are random."""
    select: Headline | None = None
    """rule that picks the headline's answer among the candidates; none: residual (restart with
    --leave claimed), or the only candidate. Every rule has its row; "verified" checks the puzzle's
    rules and is never the headline."""
    symmetries: int = 1
    """images of each puzzle that are asked; answers are mapped back."""
    noise: float = 0.0
    """deviation of the normal noise added to the state between segments."""
    leave: float | Literal["rest", "converged", "claimed", "never"] = "rest"
    """residual at which a start whose answer did not change leaves the batch and costs no more;
    converged: the solver's tolerance; rest: a thousandth of it (without a solver none leaves);
    claimed: as rest, and a start also leaves once its halting score is above 0 and its answer that
    of the segment before, and its puzzle is not started again: starts run one after another until
    one claims; never: every segment is run. The residual of who left stays where it was: at the
    tolerance it tells less of which answer is right, at a thousandth as much as ever."""
    evaluations: int | None = None
    """the solver's evaluations per segment; none: as the run was configured."""
    tolerance: float | None = None
    """the solver's relative tolerance; none: as the run was configured."""
    seed: int = 0
    """seed of the starts, the noise, the symmetries and the search."""

    @property
    def depth(self) -> Depth:
        return Depth(evaluations=self.evaluations)

    @property
    def plan(self) -> Plan:
        """The search, without what a run's solver tells of when a start leaves."""
        return Plan(
            breadth=self.breadth,
            select=self.select,
            symmetries=self.symmetries,
            noise=self.noise,
            leave=None if isinstance(self.leave, str) else self.leave,
            until_claimed=self.leave == "claimed",
            seed=self.seed,
        )

    def plan_of(self, config: "RunConfig", kind: str) -> Plan:
        """The search of a run with this configuration, on puzzles of this kind. UsageError for what
        they do not have."""
        self.expect_of(config, kind)
        solver = config.model.solver_settings()
        if self.leave not in _LEAVE or solver is None or self.evaluations == 0:
            return self.plan
        leave = _LEAVE[self.leave] * (self.tolerance or solver.tolerance)
        return self.plan.model_copy(update={"leave": leave})

    def check(self) -> None:
        """UsageError for what no run has."""
        at_least(1, segments=self.segments)
        at_least(0, evaluations=self.evaluations)
        if self.tolerance is not None and not 0 < self.tolerance < math.inf:
            raise UsageError(f"--tolerance: must be finite and above 0 (got {self.tolerance})")
        plan = self.plan  # a ValidationError names the option
        if plan.until_claimed and plan.select == "majority":
            raise UsageError("--select majority: with --leave claimed who never ran has no vote")

    def expect_of(self, config: "RunConfig", kind: str) -> None:
        """UsageError for what a model or a kind of puzzles does not have."""
        model = config.model
        solver = model.solver_settings()
        for option in ("evaluations", "tolerance"):
            if getattr(self, option) is not None and solver is None:
                raise UsageError(f"--{option}: a {model.kind} has no solver; leave it out")
        if self.tolerance is not None and self.evaluations == 0:
            raise UsageError("--tolerance: with --evaluations 0 nothing is solved; leave it out")
        if model.idles_at(self.depth) is not None:
            raise UsageError("--evaluations 0: gives this model nothing to do; take 1 or more")
        images = puzzle_of(kind).images
        if images is not None and self.symmetries > images:
            raise UsageError(f"--symmetries: a {kind} has {images} (got {self.symmetries})")
        if self.leave == "converged" and (solver is None or self.evaluations == 0):
            raise UsageError("--leave converged: nothing is solved here, so none converges")
        if self.leave == "claimed" and (self.segments or config.supervision.segments) < 2:
            raise UsageError(
                "--leave claimed: an answer stands from the second segment on; run 2 or more"
            )


@dataclass(frozen=True)
class Search:
    """A search with the net as judge, beside the evaluation."""

    search: Literal["judge"] | None = None
    """judge: beside all this, search every puzzle with the net as judge: guess a cell, ask the net,
    go on where it sees least trouble, until an answer keeps the rules; a column of its own."""
    search_calls: int | None = None
    """most questions to the judge a puzzle; none: 64."""
    search_segments: int | None = None
    """segments of each of them; none: 4."""
    search_control: bool = False
    """search with an untrained net too."""

    @property
    def judge(self) -> JudgeConfig | None:
        """None where no search is asked for."""
        if self.search is None:
            return None
        given = {"calls": self.search_calls, "segments": self.search_segments}
        return JudgeConfig(**{name: value for name, value in given.items() if value is not None})

    def check(self) -> None:
        """UsageError for amounts that there are not, or that no search is given for."""
        at_least(1, search_calls=self.search_calls, search_segments=self.search_segments)
        settings = ("search_calls", "search_segments", "search_control")
        given = [name for name in settings if getattr(self, name) not in (None, False)]
        if self.search is None and given:
            option = given[0].replace("_", "-")
            raise UsageError(f"--{option}: says how to search; add --search judge, or leave it out")


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Weights, puzzles, and what is asked of the one about the other."""

    run: Annotated[Path | None, tyro.conf.Positional] = None
    """folder of the run, or a .safetensors file that `package` wrote."""
    data: Path
    """data folder; of another size than the run's where its weights do not depend on it."""
    pretrained: str | None = None
    """in place of a run, the weights that ship for a task (sudoku or maze), of the size of the
    puzzles, or those of hub:USER/NAME."""
    out: Path | None = None
    """folder to write to; none: the run's own."""
    effort: Annotated[Effort, tyro.conf.arg(name="")]
    search: Annotated[Search, tyro.conf.arg(name="")]
    precision: Activations | None = None
    """activations; none: as the run was configured. In bf16 a residual ends at 0.005."""
    split: Literal["test", "train"] = "test"
    """which split to score."""
    puzzles: int = 0
    """score a fixed random choice of this many puzzles; 0: every one."""
    device: Device = "auto"
    """where to run; auto: the best present."""

    @classmethod
    def of(cls, weights: Path | str, data: Path | str, **options: Any) -> "Evaluate":
        """As the command line has it.

        weights: the name of weights that ship or of the hub's, else a path, to a run's folder or a
            file of `package`; data: a folder of puzzles; options: of the command, by name.

        TypeError for an option that there is not, UsageError for a value of another kind.
        """
        if taken := options.keys() & {"run", "pretrained", "data", "effort"}:
            raise TypeError(f"{min(taken)}: is given as weights, data or options of their own")
        named = isinstance(weights, str) and is_named(weights)
        words: dict[str, Any] = {"pretrained" if named else "run": weights, "data": data}
        for name, form in (("effort", Effort), ("search", Search)):
            known = {f.name: options.pop(f.name) for f in fields(form) if f.name in options}
            words[name] = given(form, known)
        return given(cls, words | options)

    @property
    def weights(self) -> Path | str:
        """A run's folder or a file of `package`, or the name of weights that ship or of the
        hub's."""
        return self.pretrained if self.run is None else self.run

    @property
    def folder(self) -> Path:
        """Where to write."""
        return self.run if self._into_run else self.out

    @property
    def _into_run(self) -> bool:
        whole_run = self.run is not None and self.run.is_dir()
        return whole_run and (self.out is None or self.out.resolve() == self.run.resolve())

    def check(self) -> None:
        """UsageError for what cannot be asked for, is not there or does not go together; RunError
        for a run that cannot be read. Before torch is loaded."""
        at_least(0, puzzles=self.puzzles)
        self.search.check()
        self.effort.check()
        self._expect_weights()
        if not self._into_run and self.out is None:
            raise UsageError("--out: these weights have no folder of a run to write to; give one")
        if not self._into_run:
            keep_apart(self.out, "comparison")
        expect(self.data, "data")
        if self.run is not None and self.run.is_dir():
            from scripts.runs.recorded import load_config

            config, grid = load_config(self.run)
            self.effort.expect_of(config, grid["kind"])

    def _expect_weights(self) -> None:
        if self.run is None and self.pretrained is None:
            raise UsageError("give the folder of a run, or --pretrained and the name of weights")
        if self.run is not None and self.pretrained is not None:
            raise UsageError(
                f"give the folder of a run or --pretrained, not both (got {self.run} too)"
            )
        if self.pretrained is not None:
            expect_weights(self.pretrained)
        else:
            expect_weights_of(self.run)
