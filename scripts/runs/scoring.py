"""An evaluation from weights by their name to a record, tables and pictures in a folder."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from puzzles.puzzle_set import PuzzleSet
from reasoning.names import Activations, Device
from reasoning.search_config import JudgeConfig
from reasoning.training.distribution import World, join_world
from reasoning.training.runs import environment, make_folder, write_json
from scripts.reports.evaluation_report import keep_earlier, print_record, write_pictures
from scripts.runs.asked import Asked, settings_hash
from scripts.runs.data import read_puzzles
from scripts.runs.evaluate import evaluate_run, notes
from scripts.runs.judged import search_judged, unit_rules
from scripts.runs.opened import open_weights
from scripts.runs.search_plan import Plan
from scripts.runs.session import TrainedRun, adjusted, fitted, subset
from scripts.terminal.choices import PACKAGED, Shipped
from scripts.terminal.console import Console
from scripts.terminal.progress import stage_progress
from scripts.usage import UsageError


@dataclass(frozen=True)
class Scoring:
    """What `loopbench evaluate` scores, on which puzzles, how, and where it writes.

    weights: a run's folder or a file of `package`, or the name of weights that ship or of the
    hub's; puzzles: a random choice of so many, 0: every one; precision: None is the run's own;
    judge: a search beside the evaluation; control: with an untrained net too.
    """

    weights: Path | str
    data: Path
    split: Literal["test", "train"]
    puzzles: int
    asked: Asked
    precision: Activations | None
    judge: JudgeConfig | None
    control: bool
    folder: Path

    def run(self, device: Device) -> None:
        """Score; print tables, and write the record and its pictures. UsageError and RunError for
        what does not go together or cannot be read, before time is spent."""
        world = join_world(device)
        chosen = subset(read_puzzles(self.data, self.split), self.puzzles)
        opened = self._opened(chosen, world)
        plan = self.asked.plan_of(opened.config, opened.kind)
        adapted = adjusted(opened, self.asked.tolerance, self.precision)
        trained = fitted(adapted, chosen, self.data)
        if self.judge is not None:
            unit_rules(chosen, world.device)  # said before time is spent
        if world.is_main:
            make_folder(self.folder)
        record = self._settings(adapted, chosen, plan)
        with stage_progress(quiet=not world.is_main) as progress:
            tell = partial(progress, f"{self._called}: segments")
            asked = chosen, record["segments"], world, self.asked.depth, plan
            record |= evaluate_run(trained, *asked, tell=tell).record
            if self.judge is not None:
                tell = partial(progress, f"{self._called}: calls of the judge")
                record["judged"] = self._judged(trained, chosen, world, tell)
        if world.is_main:
            told = notes(trained, chosen, self.data, plan, record["segments"])
            self._write(record, trained.step, told)

    def _opened(self, chosen: PuzzleSet, world: World) -> TrainedRun:
        name = self.weights
        if name in get_args(Shipped) and name != chosen.kind:
            holds = f"{self.data} holds puzzles of kind {chosen.kind}"
            raise UsageError(f"--pretrained {name}: {holds}")
        return open_weights(name, lambda: chosen.size, world)

    def _settings(self, trained: TrainedRun, chosen: PuzzleSet, plan: Plan) -> dict[str, Any]:
        """What the record says was asked, and a name for it that only the same gets again."""
        asked = self.asked
        record = {"run": str(self.weights), "data": str(self.data), "split": self.split}
        record |= {"puzzles": self.puzzles, "tolerance": asked.tolerance}
        record |= {"evaluations": asked.evaluations, "precision": trained.config.precision}
        record |= {"trained_on_size": trained.size}
        count = asked.segments or trained.config.supervision.segments
        weights = self.weights.resolve() if isinstance(self.weights, Path) else self.weights
        same = {"run": str(weights), "data": str(self.data.resolve()), "step": trained.step}
        same |= {"contents": hashlib.sha256(chosen.inputs.tobytes()).hexdigest()}
        same |= {"segments": count, "plan": plan.model_dump()}
        record["asked"] = settings_hash(record | same)
        if self.folder != self.weights:
            record["config"] = trained.config.model_dump(mode="json")
        return record | {"segments": count}

    def _judged(
        self, trained: TrainedRun, chosen: PuzzleSet, world: World, tell: Any
    ) -> dict[str, Any]:
        seed, depth = self.asked.plan.seed, self.asked.depth
        judged = search_judged(trained, chosen, self.judge, world, depth, seed, self.control, tell)
        settings = self.judge.model_dump() | {"control": self.control}
        return judged | {"asked": settings_hash(settings)}

    def _write(self, record: dict[str, Any], step: int, told: Iterable[str]) -> None:
        path = self.folder / self._file_name()
        kept = keep_earlier(path, record)
        write_json(path, record | {"environment": environment()})
        of = f"{self.weights} at step {step} on {self.data} ({self.split})"
        print_record(record, of, self._console)
        for note in told:
            self._console.print(f"note: {note}")
        if kept is not None:
            note = f"note: what lay there, of other settings or not readable, is {kept} now"
            self._console.print(note)
        drawn = write_pictures(record, path.with_suffix(""))
        self._console.print("wrote " + ", ".join(map(str, (path, *drawn))))

    def _file_name(self) -> str:
        """That of the record: of the weights if it is not in their own folder, the data, and the
        part asked for."""
        in_run = self.folder == self.weights
        parts = ["evaluation", *([] if in_run else [self._called]), self.data.resolve().name]
        parts += [self.split] if self.split != "test" else []
        parts += [f"puzzles-{self.puzzles}"] if self.puzzles else []  # no part replaces the whole
        return "-".join(parts) + ".json"

    @property
    def _called(self) -> str:
        return Path(str(self.weights)).name.removesuffix(PACKAGED)

    @property
    def _console(self) -> Console:
        return Console(width=max(110, Console().width))
