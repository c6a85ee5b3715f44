"""A language table trained, measured and written: Markdown and JSON, the paper's numbers beside."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from baselines.configs import GPTConfig
from reasoning.language_config import LanguageFacts
from reasoning.pretraining.packing import validation_rows
from reasoning.training.runs import write_json
from scripts.reports.earlier import keep_other_rows
from scripts.reports.numbers import grid
from scripts.reports.report import spread
from scripts.runs.lm_session import open_language_run
from scripts.studies.language.comparison import (
    Study,
    bundle_scores,
    full_rows,
    held_out,
    iterates,
    train_variants,
    training_numbers,
)
from scripts.studies.language.probes import step_cost
from scripts.studies.language.reading import OWN, Reading
from scripts.studies.language.tables import Entry, LanguageTable, Published, Relative, Worth
from scripts.studies.language.worth import exponent

SWEEP = (0, 1, 2, 4, 8)  # T, beside the model's own budget


@dataclass(frozen=True)
class Column:
    """heading; numbers are divided by `unit` and formatted by `form`, the paper's as they are."""

    heading: str
    form: str = ".2f"
    unit: float = 1.0


COLUMNS = {
    "parameters": Column("parameters", ",.0f"),
    "perplexity": Column("val. PPL"),
    "bits_per_byte": Column("bits per byte", ".4f"),
    "lambada": Column("LAMBADA PPL"),
    "core": Column("CORE"),
    "extended": Column("CORE-Extended"),
    "evaluations": Column("evaluations", ".1f"),
    "evaluations_training": Column("evaluations in training", ".1f"),
    "evaluations_late": Column("in its last quarter", ".1f"),
    "converged": Column("converged %", ".1f", 0.01),
    "jacobian_norm": Column("spectral norm of J"),
    "published_flops": Column("training TFLOP, published rule", ".4g", 1e12),
    "matmul_flops": Column("training TFLOP, matmuls", ".4g", 1e12),
    "matmul_flops_per_parameter": Column("matmul MFLOP per parameter", ".4g", 1e6),
    "step_seconds": Column("seconds a step", ".3g"),
    "step_bytes": Column("MiB a step", ".1f", 2**20),
    "step_flops": Column("GFLOP a step, executed", ".4g", 1e9),
    "flops_ratio": Column("FLOPs of a step, relative"),
    "memory_ratio": Column("memory, relative"),
    "time_ratio": Column("step time, relative"),
    "over_full": Column("over full IFT", ".3f"),
    "worth": Column("worth, exponent"),
}
_FROM_BUNDLE = ("lambada", "core", "extended")


def language_table(study: Study, name: str, table: LanguageTable) -> str:
    """Train, measure and write OUT/<name>.md and .json; returns the Markdown. Resumable."""
    sizes = table.sizes(study.scale, study.sizes)
    rows = [row for size in sizes for row in _rows(study, table, size)]
    claims = [claim for size in sizes for claim in _claims(table, size, rows)]
    record = {"title": table.title} | study.describe() | {"rows": rows, "claims": claims}
    text = _markdown(table, record)
    if study.world.is_main:
        keep_other_rows(study.out / f"{name}.json", _named_rows, _named_rows(record))
        write_json(study.out / f"{name}.json", record)
        (study.out / f"{name}.md").write_text(text)
    return text


def _named_rows(record: Mapping[str, Any]) -> list[str]:
    return [f"{row['name']} {row['size']}" for row in record["rows"]]


# Measuring


def _rows(study: Study, table: LanguageTable, size: str) -> list[dict[str, Any]]:
    variants = table.variants(size, study.only)
    entries = [entry for entry in table.rows(size) if entry.variant in variants]
    failures = train_variants(study, variants, size)
    runs = {
        entry.name: [
            _run(study, table, entry, size, seed, failures.get((entry.variant.name, seed)))
            for seed in range(study.seeds)
        ]
        for entry in entries
    }
    for column, relative in table.relative.items():
        if isinstance(relative, Worth):
            models = {e.name: study.configuration(e.variant, size).model for e in entries}
            _weigh(runs, column, relative, {n: m for n, m in models.items() if _is_stack(m)})
        elif relative.reference in runs:
            _relate(runs, column, relative)
    return [_row(entry, size, runs[entry.name]) for entry in entries]


def _run(
    study: Study, table: LanguageTable, entry: Entry, size: str, seed: int, failure: str | None
) -> dict[str, Any]:
    """Everything measured of one run under the entry's reading.

    study: holds the run of the entry's variant, size and seed. table: says which numbers.
    failure: why it has none; None: it has.
    """
    folder = study.folder(entry.variant, size, seed)
    run = {"run": str(folder.relative_to(study.out)), "seed": seed}
    if failure is not None:
        return run | {"failure": failure}
    numbers = training_numbers(folder)
    if any(column in table.columns for column in _FROM_BUNDLE):
        numbers |= bundle_scores(study, folder, entry.reading)
    if "step_bytes" in table.costs:
        numbers |= _step_cost(study, folder)
    model = study.configuration(entry.variant, size, seed).model
    sweeps = table.sweep and entry.reading == OWN and iterates(model)
    budgets = {str(t): Reading(max_evaluations=t) for t in SWEEP} if sweeps else {}
    scores, *swept = _scores(study, folder, [entry.reading, *budgets.values()])
    if sweeps:
        run["sweep"] = dict(zip(budgets, swept, strict=True))
    return run | {"numbers": numbers | scores}


def _scores(study: Study, folder: Path, readings: Sequence[Reading]) -> list[dict[str, float]]:
    """Held-out scores; perplexity over every label, BOS too, as the literature has it."""
    names = ("bits_per_byte", "evaluations", "converged", "residual", "displacement")
    return [
        {"perplexity": scores["perplexity_with_bos"]}
        | {name: scores[name] for name in names if scores.get(name) is not None}
        for scores in held_out(study, folder, readings)
    ]


def _step_cost(study: Study, folder: Path) -> dict[str, float]:
    """Of a micro-batch of held-out rows, from the trained weights."""
    opened = open_language_run(folder, study.world.device)
    config = opened.config
    count = min(full_rows(study.text, config), config.micro_batch or config.batch)
    rows = validation_rows(study.text, config.context, count)
    tokens = torch.from_numpy(rows.tokens[:, :-1]).to(study.world.device)
    cost = step_cost(opened.model, tokens, config.precision)
    return {"step_bytes": cost.size, "step_flops": cost.flops}


def _relate(runs: Mapping[str, list[dict[str, Any]]], column: str, relative: Relative) -> None:
    """Add the column, seed by seed, where both runs were measured."""
    for members in runs.values():
        for run, reference in zip(members, runs[relative.reference], strict=True):
            if "numbers" in run and "numbers" in reference:
                a, b = (r["numbers"][relative.column] for r in (run, reference))
                run["numbers"][column] = a / b if relative.kind == "ratio" else a - b


def _is_stack(model: LanguageFacts) -> bool:
    """Whether it is blocks alone, applied once or more often."""
    return isinstance(model, GPTConfig) and not model.value_embeddings


def _weigh(
    runs: Mapping[str, list[dict[str, Any]]],
    column: str,
    worth: Worth,
    stacks: Mapping[str, GPTConfig],
) -> None:
    """Add the column to looped stacks, seed by seed.

    runs: of every row, a seed each; column: to add; worth: of which column; stacks: of the rows
    that are stacks, looped or not.
    """
    for seed in range(max((len(runs[name]) for name in stacks), default=0)):
        measured = {
            name: runs[name][seed]["numbers"] for name in stacks if "numbers" in runs[name][seed]
        }
        losses = {name: math.log(numbers[worth.column]) for name, numbers in measured.items()}
        once = {stacks[n].layers: loss for n, loss in losses.items() if stacks[n].loops == 1}
        for name, loss in losses.items():
            if (loops := stacks[name].loops) > 1:
                phi = exponent(loss, stacks[name].layers, loops, once)
                measured[name] |= {} if phi is None else {column: phi}


def _row(entry: Entry, size: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    done = [run for run in runs if "numbers" in run]
    row = {
        "name": entry.name,
        "size": size,
        "variant": entry.variant.name,
        "changes": dict(entry.variant.changes),
        "reading": asdict(entry.reading),
        "published": dict(entry.published),
        "failed": len(runs) - len(done),
        "ours": _spreads([run["numbers"] for run in done]),
    }
    swept = [run["sweep"] for run in done if "sweep" in run]
    if swept:
        row["sweep"] = {t: _spreads([sweep[t] for sweep in swept]) for t in swept[0]}
    return row | {"runs": runs}


def _spreads(numbers: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Mean, deviation and n over runs of every number that all of them have."""
    if not numbers:
        return {}
    common = [name for name in numbers[0] if all(name in each for each in numbers)]
    return {name: spread([each[name] for each in numbers]) for name in common}


def _claims(
    table: LanguageTable, size: str, rows: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Every claim against the runs, paired by seed: on how many it holds, and the difference."""
    outcomes = []
    members = {row["name"]: row["runs"] for row in rows if row["size"] == size}
    for claim in table.claims:
        if claim.less not in members or claim.more not in members:
            continue
        pairs = zip(members[claim.less], members[claim.more], strict=True)
        values = [
            (a["numbers"][claim.column], b["numbers"][claim.column])
            for a, b in pairs
            if "numbers" in a and "numbers" in b
        ]
        outcomes.append(
            asdict(claim)
            | {
                "size": size,
                "holds_on": sum(a < b for a, b in values),
                "difference": spread([a - b for a, b in values]) if values else None,
            }
        )
    return outcomes


# Writing


def _markdown(table: LanguageTable, record: Mapping[str, Any]) -> str:
    rows = record["rows"]
    lines = [f"# {table.title}"]
    lines += ["", *_measured(table.columns, rows)]
    if table.costs:
        # Of a variant's rows, which differ in how it is read out, one.
        runs = {(row["size"], row["variant"]): row | {"name": row["variant"]} for row in rows}
        lines += ["", "What training took:", "", *_measured(table.costs, list(runs.values()))]
    swept = [row for row in rows if "sweep" in row]
    if swept:
        lines += ["", "Validation perplexity by T, most evaluations per token:", ""]
        lines += grid(["row", "size", *map(str, SWEEP), "own"], [_swept(row) for row in swept])
    if record["claims"]:
        lines += ["", "What is claimed, and what is so here:", ""]
        lines += [_told(claim) for claim in record["claims"]]
    lines += ["", *_failures(rows), _origin(record)]
    if table.note:
        lines += ["", table.note]
    return "\n".join(lines) + "\n"


def _measured(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows by columns, the paper's number before ours where the paper has the column."""
    published = {column for column in columns for row in rows if column in row["published"]}
    head = ["row", "size", "seeds"]
    for column in columns:
        heading = COLUMNS[column].heading
        head += [f"paper: {heading}"] * (column in published) + [heading]
    return grid(head, [_cells(columns, published, row) for row in rows])


def _cells(columns: Sequence[str], published: set[str], row: Mapping[str, Any]) -> list[str]:
    ours = row["ours"]
    seeds = f"{len(row['runs'])}" + (f", {row['failed']} failed" if row["failed"] else "")
    cells = [row["name"], row["size"], seeds]
    for column in columns:
        form = COLUMNS[column]
        if column in published:
            cells.append(published_cell(row["published"].get(column), form))
        if column in ours:
            cells.append(measured_cell(ours[column], form))
        else:
            cells.append("not run" if column in _FROM_BUNDLE and ours else "-")
    return cells


def published_cell(value: Published | None, form: Column) -> str:
    """A published number, in the column's unit already."""
    if isinstance(value, tuple):
        return f"{value[0]:{form.form}} ± {value[1]:{form.form}}"
    if value is None or isinstance(value, str):
        return value or "-"
    return f"{value:{form.form}}"


def measured_cell(value: Mapping[str, float], form: Column) -> str:
    """A spread as 'mean ± deviation', the mean alone where there is nothing to tell."""
    mean = f"{value['mean'] / form.unit:{form.form}}"
    if value["n"] == 1 or value["sd"] == 0:
        return mean
    return f"{mean} ± {value['sd'] / form.unit:{'.2g' if 'g' in form.form else form.form}}"


def _swept(row: Mapping[str, Any]) -> list[str]:
    form = COLUMNS["perplexity"]
    points = [measured_cell(each["perplexity"], form) for each in row["sweep"].values()]
    return [row["name"], row["size"], *points, measured_cell(row["ours"]["perplexity"], form)]


def _told(claim: Mapping[str, Any]) -> str:
    measure = COLUMNS[claim["column"]]
    text = f"* {claim['size']}: {claim['text']} ({measure.heading} of `{claim['less']}` below "
    text += f"`{claim['more']}`): "
    if claim["difference"] is None:
        return text + "no pair of runs"
    pairs, held = claim["difference"]["n"], claim["holds_on"]
    verdict = "holds" if held == pairs else "does not hold" if held == 0 else "mixed"
    difference = measured_cell(claim["difference"], replace(measure, form=".3g"))
    return f"{text}**{verdict}**, on {held} of {pairs} seeds, difference {difference}"


def _failures(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    failed = {run["run"]: run["failure"] for r in rows for run in r["runs"] if "failure" in run}
    return [f"* {run} failed: {reason}" for run, reason in failed.items()] + [""] * bool(failed)


def _origin(record: Mapping[str, Any]) -> str:
    corpus = record["corpus"]
    steps = "each preset's own steps" if record["steps"] is None else f"{record['steps']} steps"
    return (
        f"Scale {record['scale']}, {steps}, {record['seeds']} seed(s), ± their standard deviation. "
        f"Text: {', '.join(corpus['sources'])}; tokenizer {corpus['tokenizer']}, vocabulary "
        f"{corpus['vocabulary']:,}, {corpus['training_tokens']:,} training tokens. Perplexity is "
        "per token over held-out rows, BOS included; evaluations are means over tokens."
    )
