"""An evaluation from weights by their name to a record, tables and pictures in a folder."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

from puzzles.parallel import Progress
from puzzles.puzzle_set import PuzzleSet
from reasoning.precision import in_bf16
from reasoning.records import sha256_of
from reasoning.search_config import JudgeConfig
from reasoning.training.distribution import World, join_world
from reasoning.training.runs import environment, make_folder, write_json
from scripts.reports.evaluation_report import keep_earlier, print_record, write_pictures
from scripts.runs.data import read_puzzles
from scripts.runs.evaluate import evaluate_run, notes
from scripts.runs.evaluate_words import Evaluate
from scripts.runs.judged import search_judged, unit_rules
from scripts.runs.opened import open_weights
from scripts.runs.recorded import settings_hash
from scripts.runs.search_plan import Plan
from scripts.runs.session import TrainedRun, adjusted, fitted, identity, subset
from scripts.terminal.choices import PACKAGED, Shipped
from scripts.terminal.console import Console
from scripts.terminal.progress import stage_progress
from scripts.usage import UsageError


def evaluate(weights: Path | str, data: Path | str, **options: Any) -> dict[str, Any]:
    """Score weights on held-out puzzles; prints and writes what `loopbench evaluate` does.

    weights: a run's folder, a file that `package` wrote, or the name of weights that ship or of the
        hub's; data: a folder of puzzles; options: of the command, by name, see `Evaluate`.

    Returns the record that it writes, see `scripts.runs.evaluate.evaluate_run`. TypeError for an
    option that there is not, else as `Scoring.run`.
    """
    asked = Evaluate.of(weights, data, **options)
    asked.check()
    return Scoring(asked).run()


@dataclass(frozen=True)
class Scoring:
    """What `loopbench evaluate` does."""

    asked: Evaluate

    def run(self) -> dict[str, Any]:
        """Score; print tables, write the record and its pictures, and return the record. UsageError
        and RunError for what does not go together or cannot be read, before time is spent."""
        asked, effort = self.asked, self.asked.effort
        world = join_world(asked.device)
        chosen = subset(read_puzzles(asked.data, asked.split), asked.puzzles)
        opened = self._opened(chosen, world)
        plan = effort.plan_of(opened.config, opened.kind)
        adapted = adjusted(opened, effort.tolerance, asked.precision)
        trained = fitted(adapted, chosen, asked.data)
        judge = asked.search.judge
        if judge is not None:
            unit_rules(chosen, world.device)  # said before time is spent
        if world.is_main:
            make_folder(asked.folder)
        record = self._settings(adapted, chosen, plan, world)
        segments = record["segments"]
        with stage_progress(quiet=not world.is_main) as progress:
            tell = partial(progress, f"{self._called}: segments")
            record |= evaluate_run(
                trained, chosen, segments, world, effort.depth, plan, tell=tell
            ).record
            if judge is not None:
                tell = partial(progress, f"{self._called}: calls of the judge")
                record["judged"] = self._judged(judge, trained, chosen, world, tell)
        if world.is_main:
            told = notes(trained, chosen, asked.data, plan, segments)
            self._write(record, trained.step, told)
        return record

    def _opened(self, chosen: PuzzleSet, world: World) -> TrainedRun:
        name = self.asked.weights
        if name in get_args(Shipped) and name != chosen.kind:
            holds = f"{self.asked.data} holds puzzles of kind {chosen.kind}"
            raise UsageError(f"--pretrained {name}: {holds}")
        return open_weights(name, lambda: chosen.size, world)

    def _settings(
        self, trained: TrainedRun, chosen: PuzzleSet, plan: Plan, world: World
    ) -> dict[str, Any]:
        """What the record says was asked, and a name for it that only the same gets again.

        trained: what is asked; chosen: its puzzles; plan: of the search; world: the processes.
        """
        asked, effort = self.asked, self.asked.effort
        record = {"run": str(asked.weights), "data": str(asked.data), "split": asked.split}
        record |= {"puzzles": asked.puzzles, "tolerance": effort.tolerance}
        record |= {"evaluations": effort.evaluations, "precision": trained.config.precision}
        in_precision = "bf16" if in_bf16(world.device, trained.config.precision) else "fp32"
        record |= {"activations": in_precision, "puzzles_sha256": identity(chosen)}
        record |= {"trained_on_size": trained.size}
        count = effort.segments or trained.config.supervision.segments
        weights = asked.weights.resolve() if isinstance(asked.weights, Path) else asked.weights
        same = {"run": str(weights), "data": str(asked.data.resolve()), "step": trained.step}
        if isinstance(weights, Path) and weights.is_file():  # others may take their place
            same |= {"weights_sha256": sha256_of(weights)}
        same |= {"segments": count, "plan": plan.model_dump()}
        record["asked"] = settings_hash(record | same)
        if asked.folder != asked.weights:
            record["config"] = trained.config.model_dump(mode="json")
        return record | {"segments": count}

    def _judged(
        self,
        judge: JudgeConfig,
        trained: TrainedRun,
        chosen: PuzzleSet,
        world: World,
        tell: Progress,
    ) -> dict[str, Any]:
        effort, control = self.asked.effort, self.asked.search.search_control
        judged = search_judged(
            trained, chosen, judge, world, effort.depth, effort.seed, control, tell
        )
        return judged | {"asked": settings_hash(judge.model_dump() | {"control": control})}

    def _write(self, record: dict[str, Any], step: int, told: Iterable[str]) -> None:
        asked = self.asked
        path = asked.folder / self._file_name()
        kept = keep_earlier(path, record)
        write_json(path, record | {"environment": environment()})
        of = f"{asked.weights} at step {step} on {asked.data} ({asked.split})"
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
        asked = self.asked
        in_run = asked.folder == asked.weights
        parts = ["evaluation", *([] if in_run else [self._called]), asked.data.resolve().name]
        parts += [asked.split] if asked.split != "test" else []
        parts += [f"puzzles-{asked.puzzles}"] if asked.puzzles else []  # no part replaces the whole
        return "-".join(parts) + ".json"

    @property
    def _called(self) -> str:
        return Path(str(self.asked.weights)).name.removesuffix(PACKAGED)

    @property
    def _console(self) -> Console:
        return Console(width=max(110, Console().width))
