"""`loopbench evaluate`: score a run on held-out puzzles; see `scripts.runs.evaluate`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from reasoning.names import Activations, Device
from scripts.runs.asked import Asked, Leave, judging
from scripts.runs.hub_names import expect_weights
from scripts.runs.search_plan import Plan
from scripts.terminal.choices import Headline
from scripts.terminal.folders import expect, expect_weights_of, keep_apart
from scripts.usage import UsageError, at_least, parse


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
        asked.check(config, grid["kind"])

    from scripts.runs.scoring import Scoring

    Scoring(
        weights=weights,
        data=data,
        split=split,
        puzzles=puzzles,
        asked=asked,
        precision=precision,
        judge=judging(search_calls, search_segments) if search is not None else None,
        control=search_control,
        folder=folder,
    ).run(device)


def _expect_search(search: str | None, **settings: int | bool | None) -> None:
    """UsageError for a setting of a search where none is asked for."""
    given = [name for name, value in settings.items() if value not in (None, False)]
    if search is None and given:
        raise UsageError(
            f"--search-{given[0]}: says how to search; add --search judge, or leave it out"
        )


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
