"""Results that came back from a GPU machine, taken into the checkout: `scripts/gpu_lease land`.

README.md    a row of the table of weights: puzzles, preset, machine, minutes, exact %, commit, seed
RESULTS.md   the section "Does it run on a GPU?": each part stands between two comments, and a
             landing replaces those parts that it has
weights      put with their card where `solve --pretrained` finds them, if nothing ships for their
             grid or they are better than what does on the same held-out puzzles
"""

import json
import os
import re
import shutil
from pathlib import Path

from reasoning.records import sha256_of
from scripts.gpu import lease_results
from scripts.gpu.lease_results import PARTS_OF_SUMMARY, Record
from scripts.models.labels import label
from scripts.reports.numbers import accuracy
from scripts.runs.pretrained import Card, read_card
from scripts.usage import UsageError

_HEAD = "| puzzles | preset | machine | minutes |"
_SHIPS = re.compile(r" \(ships[^)]*\)")  # and perhaps how many segments
_PUZZLES = {"sudoku": "Sudoku-Extreme's mix", "maze-hard": "Maze-Hard"}
_SECTION = "## Does it run on a GPU?"


def take_in(results: Path, into: Path, rehearsal: bool = False) -> list[str]:
    """Check a results folder, then write; returns what was done, a line each.

    rehearsal: results at toy size may land, which have no place in the project's own tables.
    UsageError, nothing written, if the folder is damaged or does not fit the checkout.
    """
    record = read_results(results)
    if record["toy"] and not rehearsal:
        raise UsageError(
            f"{results}: holds a rehearsal at toy size; land it in a copy of the checkout with "
            "--into DIR"
        )
    card = weights_of(results, record)
    readme, page = into / "README.md", into / "RESULTS.md"
    for path in (readme, page):
        if not path.is_file():
            raise UsageError(f"{path}: is not there; --into takes a checkout of loopbench")
    verdict, why = is_better(record, card, into) if card else ("none", "no weights came back")
    texts = {page: with_sections(page.read_text(), record)}
    if card:
        ships = verdict in ("placed", "there already")
        row = readme_row(record, card, ships)
        texts[readme] = with_row(readme.read_text(), row, card if ships else None, readme)
    if verdict == "placed":
        place(results, record["finish"]["weights"], into / "reasoning" / "weights")
    for path, text in texts.items():
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(text)
        os.replace(partial, path)
    lines = [f"wrote {', '.join(str(path) for path in texts)}"]
    lines.append(f"weights: {verdict}, {why}")
    lines += [
        f"missed: {t['name']} {t['value']:.3g}, {t['limit']}"
        for t in record["targets"]
        if t["met"] is False
    ]
    return [*lines, "read again what README.md says elsewhere of GPUs"]


def read_results(folder: Path) -> Record:
    """A results folder's record. UsageError if it is damaged, or of another format."""
    path = folder / "results.json"
    try:
        record = json.loads(path.read_text())
        for name in ("toy", "minutes", "commit", "environment", "recipe", "tasks", "targets"):
            record[name]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path}: not readable as results ({error}); fetch the folder again"
        ) from error
    if record.get("format") != lease_results.FORMAT:
        raise UsageError(
            f"{path}: has format {record.get('format')}, and this is {lease_results.FORMAT}: land "
            "it with the commit that made it"
        )
    try:
        lease_results.outgoing(folder)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return record


def weights_of(folder: Path, record: Record) -> Card | None:
    """The card of the weights that came back, None if none did. UsageError if they are damaged."""
    name = record.get("finish", {}).get("weights")
    if name is None:
        return None
    card, weights = read_card(folder / f"{name}.json"), folder / f"{name}.safetensors"
    if not weights.is_file() or sha256_of(weights) != card.sha256:
        raise UsageError(f"{weights}: missing or not as it was packaged; fetch the folder again")
    if "curve" not in record or not record["curve"]:
        raise UsageError(f"{folder}/results.json: has weights without a learning curve")
    return card


def is_better(record: Record, card: Card, into: Path) -> tuple[str, str]:
    """Whether the new weights are "placed", "there already" or "kept out", and why."""
    scores = record["finish"]
    path = into / "reasoning" / "weights" / f"{scores['weights']}.safetensors"
    if not path.exists():
        return "placed", f"nothing ships for {scores['weights']}"
    if sha256_of(path) == card.sha256:
        return "there already", "from an earlier landing"
    if "shipped" not in scores:
        return "kept out", "what ships was not scored on the same puzzles: the run ended before"
    new, old = (scores[name]["metrics"]["exact"] for name in ("one pass", "shipped"))
    why = f"{accuracy(new)} % exact against {accuracy(old)} of what ships, n {new['n']:g}"
    return ("placed" if new["mean"] > old["mean"] else "kept out"), why


def place(results: Path, name: str, weights: Path) -> None:
    """Copy weights and card, the card last: a half-made pair is refused by its sha256."""
    weights.mkdir(parents=True, exist_ok=True)
    for suffix in (".safetensors", ".json"):
        partial = weights / f".{name}{suffix}.partial"
        shutil.copy(results / f"{name}{suffix}", partial)
        os.replace(partial, weights / f"{name}{suffix}")


def readme_row(record: Record, card: Card, ships: bool) -> list[str]:
    """The cells of a row of README's table of weights."""
    puzzles = "toy puzzles" if record["toy"] else _PUZZLES[record["recipe"]["puzzles"]]
    machine = record["environment"]["gpu"] or "CPU"
    exact, valid = (card.accuracy[name] for name in ("exact", "valid"))
    return [
        f"{puzzles} (ships)" if ships else puzzles,
        label(card.config, card.task, card.grid["cells"]),
        f"one {machine}",
        f"{record['curve'][-1]['minutes']:.1f}",
        accuracy(exact),
        accuracy(valid),
        f"{exact['n']:,.0f}",
        f"{(record['commit'] or 'unknown')[:7]}, {card.config.seed}",
    ]


def with_row(text: str, cells: list[str], replaced: Card | None, path: Path) -> str:
    """README with a row in place of that of the same puzzles and preset, or at the table's end.

    text: README's; cells: of the row, as `readme_row` makes them; replaced: the card of the weights
    that now ship, None: they do not; rows of its grid no longer do; path: README's, for the error.
    UsageError where the table is not there once.
    """
    lines = text.split("\n")
    starts = [i for i, line in enumerate(lines) if line.startswith(_HEAD)]
    if len(starts) != 1:
        raise UsageError(f"{path}: has no table that begins {_HEAD!r}, where the row belongs")
    first = last = starts[0] + 2
    while last < len(lines) and lines[last].startswith("|"):
        last += 1
    puzzles, place = _SHIPS.sub("", cells[0]), last
    for i in range(first, last):
        row = [cell.strip() for cell in lines[i].strip("|").split("|")]
        if [_SHIPS.sub("", row[0]), row[1]] == [puzzles, cells[1]]:
            place = i
        elif replaced is not None:
            grid = f"{replaced.task} {replaced.size}x{replaced.size}"
            if row[0].startswith((grid, puzzles)):
                lines[i] = _SHIPS.sub("", lines[i])
    lines[place : place + (place < last)] = [f"| {' | '.join(cells)} |"]
    return "\n".join(lines)


def with_sections(text: str, record: Record) -> str:
    """RESULTS with the record's parts in their places under the section's heading."""
    done = {
        row["part"] for row in record["tasks"] if row["status"] in ("done", "failed", "cut off")
    }
    if _SECTION not in text:
        places = "\n".join(_between(part, "\n") for part in PARTS_OF_SUMMARY)
        text = f"{text.rstrip()}\n\n{_SECTION}\n\n{places}\n"
    for part, heading in PARTS_OF_SUMMARY.items():
        if part not in done:
            continue
        body = "\n".join([heading, "", *provenance(record), *lease_results.page(part, record)])
        pattern = re.compile(f"<!-- gpu {part} -->.*?<!-- end of gpu {part} -->", re.DOTALL)
        whole = _between(part, f"\n{body.rstrip()}\n")
        if len(pattern.findall(text)) != 1:
            raise UsageError(f"RESULTS.md: the comments around gpu {part} are not there once")
        text = pattern.sub(lambda _, whole=whole: whole, text)
    return text


def provenance(record: Record) -> list[str]:
    """What the figures are of: card, commit, minutes, command."""
    machine = record["environment"]
    changed = ", with uncommitted changes" if record["uncommitted_changes"] else ""
    torch = machine["packages"]["torch"]
    commit = (record["commit"] or "unknown")[:7]
    return [
        f"{machine['gpu'] or machine['cpu']}, torch {torch}; commit {commit}{changed}; "
        f"{record['minutes']:g} minutes: `{' '.join(record['command'])}`.",
        "",
    ]


def _between(part: str, body: str) -> str:
    return f"<!-- gpu {part} -->{body}<!-- end of gpu {part} -->"
