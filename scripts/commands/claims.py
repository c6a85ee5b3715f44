"""`loopbench claims`: the paper's fourteen claims, each with what the recorded results say."""

import json as json_text
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from scripts.reports.claims_table import HEADINGS
from scripts.reports.records import FOLDER, read_records
from scripts.studies.claim_list import CLAIMS
from scripts.studies.claim_texts import bars, describe
from scripts.studies.claims import FIRST, SEEDS, Claim, Verdict, judge
from scripts.terminal.console import Console
from scripts.terminal.python_path import safe_path
from scripts.usage import UsageError, at_least, parse


def claims(
    json: bool = False,
    run: int | None = None,
    dry_run: bool = False,
    seeds: int = SEEDS,
    most_seeds: int | None = None,
    out: Path | None = None,
    corpus: Path | None = None,
    sudoku: Path | None = None,
    maze: Path | None = None,
    yes: bool = False,
    figures: Path | None = None,
    results: Path = FOLDER,
) -> int:
    """The fourteen claims of the paper, each with its word: held, not held, undecided, not tested.
    How a claim gets its word is written in scripts/studies/claims.py.

    Args:
        json: print a list of fourteen, with every test, interval and record.
        run: number of a claim: print the command that stands behind it, and run it. Resumable.
        dry_run: with --run, print the command alone.
        seeds: with --run, seeds of each model.
        most_seeds: with --run of a claim about accuracy, in place of --seeds: five seeds, then as
            many as a difference of 5 points needs by their spread, but no more than this.
        out: with --run, folder for runs and tables; none: runs/claims/NAME, tables of language
            models sharing runs/claims/text.
        corpus: with --run of a claim about text, folder made by `loopbench corpus build`.
        sudoku: with --run of a claim about the published sets, folder of Sudoku-Extreme.
        maze: the same of Maze-Hard.
        yes: with --run, begin though it takes more than an hour.
        figures: folder to draw every claim's difference and interval in, as NN-NAME.png
            (baselines/claims, for the claims' pages).
        results: folder of recorded results.
    """
    if run is not None and (json or figures is not None):
        raise UsageError("--json and --figures are of all claims: leave --run out")
    if run is not None:
        folders = {"corpus": corpus, "sudoku": sudoku, "maze": maze}
        claim = _numbered(run)

        def words(count: int) -> list[str]:
            return _words(claim, count, out, yes, folders, dry_run)

        if most_seeds is None:
            return _run(claim, words(seeds), dry_run)
        _check_counted(claim, seeds, most_seeds)
        return _run_enough(claim, words, most_seeds, dry_run)
    if dry_run or most_seeds is not None:
        raise UsageError(f"{'--dry-run' if dry_run else '--most-seeds'} is of --run N")
    records = read_records(results)
    verdicts = [judge(claim, records) for claim in CLAIMS]
    if figures is not None:
        _draw(verdicts, figures)
    described = list(map(describe, verdicts))
    if json:
        print(json_text.dumps(described, indent=1, allow_nan=False))
    else:
        _print(described)
    return 0


def _draw(verdicts: Sequence[Verdict], folder: Path) -> None:
    """Write the figure of every claim that has numbers."""
    from reasoning.training.runs import make_folder
    from scripts.reports.claim_figure import plot_claim

    make_folder(folder, "--figures")
    drawn = {folder / f"{verdict.claim.stem}.png": bars(verdict) for verdict in verdicts}
    for path in drawn:
        if path.is_dir():
            raise UsageError(f"{path}: is a folder, where a figure goes; move it away")
    for path, shown in drawn.items():
        if shown:
            plot_claim(shown, path)
    print(
        f"drew the figures of {sum(map(bool, drawn.values()))} claims in {folder}", file=sys.stderr
    )


def _print(verdicts: Sequence[Mapping[str, Any]]) -> None:
    console = Console(width=max(180, Console().width), highlight=False)
    table = Table()
    for key, heading in HEADINGS.items():
        table.add_column(heading, overflow="fold", ratio=3 if key in ("claim", "effect") else None)
    for verdict in verdicts:
        table.add_row(*(str(verdict[key]) for key in HEADINGS))
    console.print(table)


def _numbered(number: int) -> Claim:
    if not 1 <= number <= len(CLAIMS):
        raise UsageError(f"--run: must be from 1 to {len(CLAIMS)} (got {number})")
    return CLAIMS[number - 1]


def _words(
    claim: Claim,
    seeds: int,
    out: Path | None,
    yes: bool,
    folders: Mapping[str, Path | None],
    dry_run: bool,
) -> list[str]:
    """The command behind a claim, in words.

    seeds: trained per arm. out: where it writes; None: a folder of the claim's name under
    runs/claims. yes: downloads are agreed to. folders: what the user gave, by the name that the
    claim's words ask for. dry_run: where one is missing its name stands for it; UsageError else.
    """
    at_least(1, seeds=seeds)
    needed = [name for name in folders if f"{{{name}}}" in claim.run]
    missing = [name for name in needed if folders[name] is None]
    if missing and not dry_run:
        raise UsageError(f"claim {claim.number} needs --{missing[0]} DIR")
    places = {name: folders[name] or name.upper() for name in needed}
    words = [word.format_map(places) for word in claim.run]
    if claim.trains:
        words += ["--seeds", str(seeds)]
    if yes and "--corpus" not in words and claim.trains:
        words.append("--yes")
    place = out or Path("runs/claims") / ("text" if "corpus" in needed else claim.name)
    return [*words, "--out", str(place)]


def _run(claim: Claim, words: Sequence[str], dry_run: bool) -> int:
    print(shlex.join(["loopbench", *words]), flush=True)
    if dry_run:
        return 0
    code = subprocess.run([sys.executable, "-m", "scripts", *words], env=_environment()).returncode
    if code == 0:
        result = Path(words[-1]) / claim.result
        print(f"to keep it: loopbench record {result} --name claims-{claim.stem}")
    return code


def _check_counted(claim: Claim, seeds: int, most_seeds: int) -> None:
    """UsageError where seeds cannot be counted from the spread of the first."""
    if claim.trains and claim.counts_seeds:
        at_least(FIRST, most_seeds=most_seeds)
    else:
        raise UsageError(f"--most-seeds: claim {claim.number} is not about accuracy; give --seeds")
    if seeds != SEEDS:
        raise UsageError("--seeds and --most-seeds are one number too many: leave one out")


def _run_enough(
    claim: Claim, words: Callable[[int], Sequence[str]], most: int, dry_run: bool
) -> int:
    """Run the first seeds, then as many as they ask for.

    claim: about accuracy; words: the command, by seeds; most: seeds; dry_run: print it alone.
    """
    from scripts.studies.result_records import make_record

    code = _run(claim, words(FIRST), dry_run)
    if code or dry_run:
        return code
    result = make_record(Path(words(FIRST)[-1]) / claim.result)
    counted = [o.needed for o in judge(claim, {claim.stem: result}).outcomes if o.needed]
    if not counted:
        raise UsageError(f"{words(FIRST)[-1]}: its seeds have no spread to count from")
    seeds = min(max(FIRST, *counted), most)
    print(
        f"a difference of 5 points needs {max(counted)} seeds by the spread of the first {FIRST}: "
        f"{seeds} are trained"
    )
    return _run(claim, words(seeds), dry_run) if seeds > FIRST else 0


def _environment() -> dict[str, str]:
    """With this package found from any folder, before one of the same name there."""
    places = [str(FOLDER.parents[1]), os.environ.get("PYTHONPATH")]
    return os.environ | safe_path(places)


def main(words: Sequence[str]) -> int:
    return parse(claims, words, "loopbench claims")()
