"""`loopbench evaluate-lm`: perplexity, LAMBADA and CORE; see `scripts.runs.evaluate_lm`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from reasoning.names import BATCH_TOKENS, FEW_SHOT_SEED, Device
from scripts.terminal.folders import expect
from scripts.usage import UsageError, above_0, at_least, parse


def evaluate_lm(
    run: Annotated[Path, tyro.conf.Positional],
    bundle: Path | None = None,
    tasks: str = "",
    extended: bool = False,
    limit: int = 0,
    few_shot_seeds: tuple[int, ...] = (FEW_SHOT_SEED,),
    corpus: Path | None = None,
    rows: int = 0,
    solver_evaluations: int | None = None,
    tolerance: float | None = None,
    batch_tokens: int = BATCH_TOKENS,
    device: Device = "auto",
) -> None:
    """Score a pretraining run on a CORE bundle and on held-out text; run again to go on.

    Sequences are as long as in its training at most. Under `torchrun --no-python loopbench
    evaluate-lm`
    the processes share the items.

    Prints a table and writes RUN/evaluation-lm/<hash of the settings>/results.json; what --limit,
    --tasks, --rows, --extended or other seeds ask for goes to a file of its own beside it.

    Args:
        run: folder of the run.
        bundle: folder of a CORE bundle (core.yaml, eval_meta_data.csv, eval_data/).
        tasks: score these only, names with commas between; none: CORE's.
        extended: score every task the bundle has, for CORE-Extended.
        limit: score this many items of each task; 0: all.
        few_shot_seeds: draws of the few-shot examples; 1234 2345 3456 give CORE's spread.
        corpus: folder of a corpus, for perplexity and bits per byte on its validation split.
        rows: score this many validation rows; 0: all.
        solver_evaluations: most evaluations of the map per token; none: the model's own.
        tolerance: relative residual at which a token stops; none: the model's own.
        batch_tokens: tokens of one forward pass.
        device: where to run; auto: the best present.
    """
    at_least(0, limit=limit, rows=rows, solver_evaluations=solver_evaluations)
    at_least(1, batch_tokens=batch_tokens)
    above_0(tolerance=tolerance)
    if bundle is None and corpus is None:
        raise UsageError("nothing to score: give --bundle DIR, --corpus DIR or both")
    of_bundle = tasks or extended or limit or few_shot_seeds != (FEW_SHOT_SEED,)
    if bundle is None and of_bundle:
        raise UsageError(
            "--tasks, --extended, --limit and --few-shot-seeds are of a bundle: give --bundle DIR"
        )
    if corpus is None and rows:
        raise UsageError("--rows is of a corpus: give --corpus DIR")
    expect(run, "language run")
    if corpus is not None:
        expect(corpus, "corpus")
    names = tuple(name.strip() for name in tasks.split(",") if name.strip())
    if bundle is not None:
        from reasoning.pretraining.evaluation.core_tasks import read_bundle

        read_bundle(bundle, names, extended)  # its mistakes are told before torch is loaded

    from reasoning.pretraining.evaluation.likelihood import Scorer
    from reasoning.pretraining.protocol import SolveBudget
    from reasoning.training.distribution import join_world
    from scripts.runs.evaluate_lm import Ask, evaluate_language_run
    from scripts.runs.lm_session import open_language_run
    from scripts.terminal.console import Console

    ask = Ask(bundle, names, extended, limit, few_shot_seeds, corpus, rows)
    world = join_world(device)
    opened = open_language_run(run, str(world.device))
    budget = SolveBudget(solver_evaluations, tolerance)
    # A model may take longer sequences than it was trained on; it is not judged by those.
    context = opened.config.context
    scorer = Scorer(
        opened.model, world, budget, opened.config.precision, batch_tokens, context=context
    )
    evaluate_language_run(opened, scorer, ask, Console())


def main(words: Sequence[str]) -> int:
    parse(evaluate_lm, words, "loopbench evaluate-lm")()
    return 0
