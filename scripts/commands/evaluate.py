"""`loopbench evaluate`: score a run on held-out puzzles; see `scripts.runs.evaluate`."""

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import tyro

from reasoning.names import Activations, Device
from scripts.runs.asked import Asked, Leave, judging, settings_hash
from scripts.runs.hub_names import expect_weights
from scripts.runs.search_plan import Plan
from scripts.terminal.choices import PACKAGED, Headline, Shipped
from scripts.terminal.folders import expect, expect_weights_of, keep_apart
from scripts.usage import UsageError, at_least, parse

if TYPE_CHECKING:
    from puzzles.puzzle_set import PuzzleSet


def evaluate(
    run: Annotated[Path | None, tyro.conf.Positional] = None,
    *,
    data: Path,
    pretrained: str | None = None,
    out: Path | None = None,
    segments: int | None = None,
    breadth: int = 1,
    select: Headline | None = None,
    symmetries: int = 1,
    noise: float = 0.0,
    leave: Leave = "rest",
    evaluations: int | None = None,
    tolerance: float | None = None,
    precision: Activations | None = None,
    split: Literal["test", "train"] = "test",
    puzzles: int = 0,
    seed: int = 0,
    search: Literal["judge"] | None = None,
    search_calls: int | None = None,
    search_segments: int | None = None,
    search_control: bool = False,
    device: Device = "auto",
) -> None:
    """Score a run's averaged weights; prints tables and writes RUN/evaluation-<data>.json (or, with
    --out, OUT/evaluation-<weights>-<data>.json), with pictures beside it; what --puzzles asks for
    goes to a file of its own, and an evaluation of other settings stays beside it as -earlier-1.

    Args:
        run: folder of the run, or a .safetensors file that `package` wrote.
        data: data folder; of another size than the run's where its weights do not depend on it.
        pretrained: in place of a run, the weights that ship for a task (sudoku or maze), of the
            size of the puzzles, or those of hub:USER/NAME.
        out: folder to write to; none: the run's own.
        segments: depth, segments per start; none: as the run was configured.
        breadth: starts per puzzle; the first is the model's own, the others are random.
        select: rule that picks the headline's answer among the candidates; none: residual (restart
            with --leave claimed), or the only candidate. Every rule has its row; "verified" checks
            the puzzle's rules and is never the headline.
        symmetries: images of each puzzle that are asked; answers are mapped back.
        noise: deviation of the normal noise added to the state between segments.
        leave: residual at which a start whose answer did not change leaves the batch and costs no
            more; converged: the solver's tolerance; rest: a thousandth of it (without a solver none
            leaves); claimed: as rest, and a start also leaves once its halting score is above 0 and
            its answer that of the segment before, and its puzzle is not started again: starts run
            one after another until one claims; never: every segment is run. The residual of who
            left stays where it was: at the tolerance it tells less of which answer is right, at a
            thousandth as much as ever.
        evaluations: the solver's evaluations per segment; none: as the run was configured.
        tolerance: the solver's relative tolerance; none: as the run was configured.
        precision: activations; none: as the run was configured. In bf16 a residual ends at 0.005.
        split: which split to score.
        puzzles: score a fixed random choice of this many puzzles; 0: every one.
        seed: seed of the starts, the noise, the symmetries and the search.
        search: judge: beside all this, search every puzzle with the net as judge: guess a cell,
            ask the net, go on where it sees least trouble, until an answer keeps the rules; a
            column of its own.
        search_calls: most questions to the judge a puzzle; none: 64.
        search_segments: segments of each of them; none: 4.
        search_control: search with an untrained net too.
        device: where to run; auto: the best present.
    """
    at_least(1, segments=segments, search_calls=search_calls, search_segments=search_segments)
    at_least(0, evaluations=evaluations, puzzles=puzzles)
    _expect_search(search, calls=search_calls, segments=search_segments, control=search_control)
    plan = Plan(
        breadth=breadth,
        select=select,
        symmetries=symmetries,
        noise=noise,
        leave=None if isinstance(leave, str) else leave,
        until_claimed=leave == "claimed",
        seed=seed,
    )
    asked = Asked(plan, leave, segments, evaluations, tolerance)
    weights = _weights(run, pretrained)
    folder = _folder(weights, out)
    expect(data, "data")
    if isinstance(weights, Path) and weights.is_dir():  # refused before torch is loaded
        from scripts.runs.recorded import load_config

        config, grid = load_config(weights)
        asked.plan_of(config, grid["kind"])

    from reasoning.training.distribution import join_world
    from reasoning.training.runs import environment, make_folder, write_json
    from scripts.reports.evaluation_report import keep_earlier, print_record, write_pictures
    from scripts.runs.data import read_puzzles
    from scripts.runs.evaluate import evaluate_run, notes
    from scripts.runs.judged import search_judged, unit_rules
    from scripts.runs.opened import open_weights
    from scripts.runs.session import adjusted, fitted, subset
    from scripts.terminal.console import Console
    from scripts.terminal.progress import stage_progress

    world = join_world(device)
    console = Console(width=max(110, Console().width))
    chosen = subset(read_puzzles(data, split), puzzles)
    if pretrained in get_args(Shipped) and pretrained != chosen.kind:
        raise UsageError(f"--pretrained {pretrained}: {data} holds puzzles of kind {chosen.kind}")
    opened = open_weights(weights, lambda: chosen.size, world)
    plan = asked.plan_of(opened.config, opened.kind)
    trained = fitted(adjusted(opened, tolerance, precision), chosen, data)
    if search is not None:
        unit_rules(chosen, world.device)  # said before time is spent
    if world.is_main:
        make_folder(folder)
    count = segments or trained.config.supervision.segments
    record = {"run": str(weights), "data": str(data), "split": split, "puzzles": puzzles}
    record |= {"tolerance": tolerance, "evaluations": evaluations}
    record |= {"precision": trained.config.precision, "trained_on_size": opened.size}
    judge = judging(search_calls, search_segments) if search is not None else None
    more = {"step": trained.step, "segments": count, "plan": plan.model_dump()}
    record["asked"] = _fingerprint(weights, data, chosen, record | more)
    if folder != weights:
        record["config"] = trained.config.model_dump(mode="json")
    called = Path(str(weights)).name.removesuffix(PACKAGED)
    with stage_progress(quiet=not world.is_main) as progress:
        tell = partial(progress, f"{called}: segments")
        record |= evaluate_run(trained, chosen, count, world, asked.depth, plan, tell=tell).record
        if judge is not None:
            tell = partial(progress, f"{called}: calls of the judge")
            record["judged"] = search_judged(
                trained, chosen, judge, world, asked.depth, seed, search_control, tell
            )
            searched = judge.model_dump() | {"control": search_control}
            record["judged"]["asked"] = settings_hash(searched)
    if world.is_main:
        path = folder / _file_name("" if folder == weights else called, data, split, puzzles)
        kept = keep_earlier(path, record)
        write_json(path, record | {"environment": environment()})
        print_record(record, f"{weights} at step {trained.step} on {data} ({split})", console)
        for note in notes(trained, chosen, data, plan, count):
            console.print(f"note: {note}")
        if kept is not None:
            console.print(f"note: what lay there, of other settings or not readable, is {kept} now")
        drawn = write_pictures(record, path.with_suffix(""))
        console.print("wrote " + ", ".join(map(str, (path, *drawn))))


def _expect_search(search: str | None, **settings: int | bool | None) -> None:
    """UsageError for a setting of a search where none is asked for."""
    given = [name for name, value in settings.items() if value not in (None, False)]
    if search is None and given:
        raise UsageError(
            f"--search-{given[0]}: says how to search; add --search judge, or leave it out"
        )


def _fingerprint(
    weights: Path | str, data: Path, chosen: "PuzzleSet", settings: dict[str, Any]
) -> str:
    """Alike for evaluations of the same weights on the same puzzles in the same way."""
    run = weights.resolve() if isinstance(weights, Path) else weights
    puzzles = hashlib.sha256(chosen.inputs.tobytes()).hexdigest()
    return settings_hash(
        settings | {"run": str(run), "data": str(data.resolve()), "contents": puzzles}
    )


def _file_name(weights: str, data: Path, split: str, puzzles: int) -> str:
    """That of the record: of the weights if they are named, the data, and the part asked for."""
    parts = ["evaluation", *filter(None, [weights]), data.resolve().name]
    parts += [split] if split != "test" else []
    parts += [f"puzzles-{puzzles}"] if puzzles else []  # a part does not replace the whole
    return "-".join(parts) + ".json"


def _weights(run: Path | None, pretrained: str | None) -> Path | str:
    """Those asked for: as a path, or by their name. UsageError where they are not there."""
    if run is None and pretrained is None:
        raise UsageError("give the folder of a run, or --pretrained and the name of weights")
    if run is not None and pretrained is not None:
        raise UsageError(f"give the folder of a run or --pretrained, not both (got {run} too)")
    if pretrained is not None:
        expect_weights(pretrained)
        return pretrained
    expect_weights_of(run)
    return run


def _folder(weights: Path | str, out: Path | None) -> Path:
    """Where to write. UsageError for a folder of other things, and for none."""
    whole_run = isinstance(weights, Path) and weights.is_dir()
    if whole_run and (out is None or out.resolve() == weights.resolve()):
        return weights
    if out is None:
        raise UsageError("--out: these weights have no folder of a run to write to; give one")
    keep_apart(out, "comparison")
    return out


def main(words: Sequence[str]) -> int:
    parse(evaluate, words, "loopbench evaluate")()
    return 0
