"""Comparisons over runs as plain numbers and Markdown: mean and deviation over seeds, every run."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from puzzles.errors import DataError
from reasoning.training.logs import RunLog
from reasoning.training.runs import RunError
from scripts.reports.differences import HEADINGS, apart, by_seed, compared, interval
from scripts.reports.numbers import grid, over_seeds, percent
from scripts.reports.paired import APART, POWER
from scripts.reports.records import COLLAPSED


@dataclass(frozen=True)
class Row:
    """One run of a comparison: its label, what it scored, and what its training executed.

    evaluation, training_set: records of held-out and of training puzzles; None for a run that
    failed, whose reason is `failure`; cost: with that of the runs its weights came from, empty
    where it is not known, as of imported weights; cell_loss: see `late_cell_loss`; data: the folder
    of the puzzles scored; trained_on: of those trained on; began: the step of the weights it began
    with, 0: afresh; before: a hash of how those were trained; planned: the steps it was to be
    trained for; recipe: a hash of its settings.
    """

    label: str
    folder: Path
    seed: int
    evaluation: dict[str, Any] | None = None
    training_set: dict[str, Any] | None = None
    cost: Mapping[str, float] | None = None
    cell_loss: float | None = None
    data: str = ""
    trained_on: str = ""
    began: int = 0
    before: str = ""
    planned: int | None = None
    recipe: str = ""
    failure: str | None = None

    @property
    def apart(self) -> tuple[str | None, ...]:
        """What may tell runs of one label apart, each in words; None: there is none of it."""
        return (
            f"steps={_steps(self)}",
            f"after {self.began} steps" if self.began else "from the start",
            f"begun with {self.before}" if self.before else None,
            f"trained on {self.trained_on}",
            f"on {self.data}",
            f"settings {self.recipe}",
        )

    @property
    def group(self) -> tuple[str | None, ...]:
        """What the runs of a group share."""
        return self.label, *self.apart


def training_cost(folder: Path, step: int) -> dict[str, float]:
    """What a run's training took up to a step: net calls (summed over slots), FLOPs, seconds, peak
    bytes. Empty if it has no log up to there, as imported weights have none. RunError if the log of
    its times lacks them.

    `bytes` is the device's peak where the run's device measures one, else what autograd kept for
    one backward pass. FLOPs and bytes are missing from runs older than their measurement.
    """
    log = RunLog(folder)
    if not log.exists:
        return {}
    both = log.learned("train"), log.took()
    steps, timing = ([r for r in lines if r["step"] <= step] for lines in both)
    if not steps:
        return {}
    if len(timing) < len(steps):
        raise RunError(
            f"{log.took_in}: {len(timing)} of {len(steps)} lines up to step {step} "
            "(cut short?), so what it took is not known: train it again or leave it out"
        )
    cost = {
        "net_calls": steps[-1]["total_net_calls"],
        "seconds": sum(r["seconds"] for r in timing),
    }
    if all("flops" in r for r in timing):
        cost["flops"] = sum(r["flops"] for r in timing)
        cost["bytes"] = max(r.get("peak_bytes", r["saved_bytes"]) for r in timing)
    return cost


def late_cell_loss(folder: Path, step: int) -> float | None:
    """Mean loss of the cells over the last tenth of a run's steps up to a step; None where its log
    does not tell it."""
    log = RunLog(folder)
    lines = log.learned("train") if log.exists else []
    late = [r.get("cell_loss") for r in lines if 0.9 * step < r["step"] <= step]
    return statistics.fmean(late) if late and None not in late else None


def _over_seeds(runs: Sequence[Row], value: Callable[[Row], float]) -> dict[str, float]:
    """A value's spread over seeds: of runs of one seed, which chance or a machine tells apart, the
    mean is one value."""
    by_seed: dict[int, list[float]] = {}
    for run in runs:
        by_seed.setdefault(run.seed, []).append(value(run))
    return spread([statistics.fmean(values) for values in by_seed.values()])


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean and standard deviation over runs, with n (deviation 0 for one run)."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.fmean(values), "sd": deviation, "n": len(values)}


def comparison(rows: Sequence[Row]) -> dict[str, Any]:
    """Rows grouped by name, in order of first appearance; every run is listed, failed ones too."""
    groups: dict[str, list[Row]] = {}
    for name, row in zip(group_names(rows), rows, strict=True):
        groups.setdefault(name, []).append(row)
    return {name: _group(members) for name, members in groups.items()}


def group_names(rows: Sequence[Row]) -> list[str]:
    """The group of every row: its label, and, where runs of one label differ in length, in what
    they began with, or in the puzzles they learned or were scored on, what tells them apart."""
    by_label: dict[str, list[tuple[str | None, ...]]] = {}
    for row in rows:
        if row.evaluation is not None:
            by_label.setdefault(row.label, []).append(row.apart)
    names = []
    for row in rows:
        told = []
        if row.evaluation is not None:
            columns = zip(*by_label[row.label], strict=True)
            several = [len(set(each) - {None}) > 1 for each in columns]
            told = [
                text for text, needed in zip(row.apart, several, strict=True) if text and needed
            ]
        names.append(" ".join([row.label, *told]))
    return names


def _group(members: Sequence[Row]) -> dict[str, Any]:
    done = [m for m in members if m.evaluation is not None]
    group: dict[str, Any] = {"failed": len(members) - len(done)}
    if done:
        first = done[0].evaluation
        names = list(first["metrics"])
        if any(list(m.evaluation["metrics"]) != names for m in done):
            raise DataError("runs of one label were scored on different kinds of puzzle")
        group |= {
            "parameters": first["parameters"],
            "embedding_parameters": first["embedding_parameters"],
            "segments": first["segments"],
            "data": done[0].data,
            "puzzles": first["metrics"]["exact"]["n"],
            "training_puzzles": done[0].training_set["metrics"]["exact"]["n"],
            "metrics": {
                n: _over_seeds(done, lambda m, n=n: m.evaluation["metrics"][n]["mean"])
                for n in names
            },
            "training_metrics": {
                n: _over_seeds(done, lambda m, n=n: m.training_set["metrics"][n]["mean"])
                for n in names
            },
            "halted_exact": _over_seeds(done, lambda m: _halted(m)["metrics"]["exact"]["mean"]),
            "halted_net_calls_per_puzzle": _over_seeds(
                done, lambda m: _halted(m)["net_calls_per_puzzle"]["mean"]
            ),
            "net_calls_per_puzzle": _over_seeds(
                done, lambda m: m.evaluation["net_calls_per_puzzle"]
            ),
            "unfinished": sum(m.planned is not None and _steps(m) < m.planned for m in done),
            "collapsed": sum(m.evaluation["metrics"]["exact"]["mean"] < COLLAPSED for m in done),
        }
        for name in ("net_calls", "flops", "seconds", "bytes"):
            known = all(name in m.cost for m in done)
            costs = _over_seeds(done, lambda m, name=name: m.cost[name]) if known else None
            group[f"training_{name}"] = costs
        known = all(m.evaluation.get("flops_per_puzzle") is not None for m in done)
        flops = _over_seeds(done, lambda m: m.evaluation["flops_per_puzzle"]) if known else None
        group["flops_per_puzzle"] = flops
    group["runs"] = [_run(m) for m in members]
    return group


def _steps(row: Row) -> int:
    return row.evaluation["step"]


def _halted(row: Row) -> dict[str, Any]:
    """What a run answers where its own halting score stops it first."""
    return row.evaluation["selection"]["halt-first"]


def _run(row: Row) -> dict[str, Any]:
    run: dict[str, Any] = {"run": str(row.folder), "seed": row.seed}
    if row.evaluation is None:
        return run | {"failure": row.failure}
    held_out, training = row.evaluation["metrics"], row.training_set["metrics"]
    halting, flops = _halted(row), row.evaluation.get("flops_per_puzzle")
    return run | {
        "steps": _steps(row),
        "planned_steps": row.planned,
        "cost": dict(row.cost),
        "training_exact": training["exact"],
        "halted_exact": halting["metrics"]["exact"],
        "halted_net_calls": halting["net_calls_per_puzzle"],
        "net_calls": {"mean": row.evaluation["net_calls_per_puzzle"]},
        **({} if flops is None else {"flops_per_puzzle": {"mean": flops}}),
        **({} if row.cell_loss is None else {"cell_loss": {"mean": row.cell_loss}}),
        **held_out,
    }


def amount(value: Mapping[str, float] | None, unit: float = 1) -> str:
    """A spread's mean in a unit, to three digits, or a dash."""
    if value is None:
        return "-"
    mean = value["mean"] / unit
    return f"{mean:.0f}" if mean >= 100 else f"{mean:.3g}"


def headings(names: Sequence[str]) -> list[str]:
    """The columns of the table."""
    shown = [f"{name.replace('_', ' ')} %" for name in names]
    known = [f"training {heading}" for heading in shown]
    return [
        *("model", "parameters (of embeddings)", "seeds", *shown),
        *("exact % halting itself", "net calls halting itself"),
        *known,
        *("training net calls, 1e6", "training TFLOP", "training minutes", "MiB"),
        *("net calls a puzzle", "MFLOP a puzzle"),
    ]


def cells(label: str, group: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """One group's row of the table; dashes where no run of it finished."""
    runs = group["runs"]
    seeds = str(count := len({run["seed"] for run in runs}))
    seeds += f" ({len(runs)} runs)" if len(runs) > count else ""
    if "metrics" not in group:
        return [label, "-", f"{seeds}, all failed", *("-" for _ in headings(names)[3:])]
    return [
        label,
        f"{group['parameters']:,} ({group['embedding_parameters']:,})",
        ", ".join([seeds, *marks(group)]),
        *(over_seeds(group["metrics"][name]) for name in names),
        over_seeds(group["halted_exact"]),
        amount(group["halted_net_calls_per_puzzle"]),
        *(over_seeds(group["training_metrics"][name]) for name in names),
        amount(group["training_net_calls"], 1e6),
        amount(group["training_flops"], 1e12),
        amount(group["training_seconds"], 60),
        amount(group["training_bytes"], 2**20),
        amount(group["net_calls_per_puzzle"]),
        amount(group["flops_per_puzzle"], 1e6),
    ]


def marks(group: Mapping[str, Any]) -> list[str]:
    """What is to be known of a group's runs: how many failed, stopped early or learned nothing."""
    return [f"{group[k]} {k}" for k in ("failed", "unfinished", "collapsed") if group.get(k)]


def metric_names(groups: Mapping[str, Any]) -> list[str]:
    """The metrics of the puzzles compared; cell, exact and valid where every run failed."""
    scored = [g for g in groups.values() if "metrics" in g]
    return list(scored[0]["metrics"]) if scored else ["cell", "exact", "valid"]


def verdict(groups: Mapping[str, Any]) -> str:
    """One sentence: which model solves most, and whether every seed says so."""
    scored = {name: group for name, group in groups.items() if "metrics" in group}
    if not scored:
        return "No run could be scored: all of them failed."
    if len({group["data"] for group in scored.values()}) > 1:
        return "The runs were scored on different puzzles, so there is no order among them."
    ordered = sorted(scored, key=lambda name: -scored[name]["metrics"]["exact"]["mean"])
    best, count = ordered[0], _counts(scored, "puzzles")
    exact = {name: scored[name]["metrics"]["exact"] for name in ordered}
    if exact[best]["mean"] < COLLAPSED:
        return (
            f"No model solves the {count} held-out puzzles: the best, {best}, gets "
            f"{over_seeds(exact[best])} % exactly right."
        )
    text = f"{best} gets {over_seeds(exact[best])} % of {count} held-out puzzles exactly right"
    if len(ordered) == 1:
        return f"{text}, {_seeds(exact[best]['n'])}."
    second = ordered[1]
    text += f", the most; next comes {second} with {over_seeds(exact[second])} %: "
    if exact[best]["mean"] == exact[second]["mean"]:
        return text + "no difference."
    values = [by_seed(scored[name]) for name in ordered[:2]]
    seeds, effect = list(map(len, values)), apart(*values)
    if effect is None:
        if min(seeds) > 1:
            return text + f"all of {min(seeds)} seeds differ alike, from which nothing follows."
        text += "one seed of " + ("each" if max(seeds) == 1 else "one of them")
        return text + " is a first look, which another seed may turn round."
    kind = "by seed" if effect.paired else "of the means"
    text += f"the 95 % interval of the difference {kind} is {interval(effect)} points"
    return text + (", so this may be chance." if effect.low <= 0 <= effect.high else ".")


def _seeds(count: int) -> str:
    return "one seed" if count == 1 else f"mean of {count} seeds"


def notes(groups: Mapping[str, Any]) -> str:
    """What the table's numbers are."""
    return (
        f"{_counts(groups, 'puzzles')} held-out puzzles and {_counts(groups, 'training_puzzles')} "
        "of the training puzzles, every segment run; where a model halts itself: its answer where "
        "its halting score is first positive. ± is the standard deviation over seeds. Net calls "
        "are those that each puzzle was served by, a solver's evaluations until the puzzle "
        "converged; the rest of its batch computes it along until the solve ends, which is not in "
        "them. FLOPs are of the matrix products and attention that ran, whoever was in the batch: "
        "of training, from one step of every log interval and depth; of a puzzle, a net call's "
        "(from a few puzzles run one at a time) times its net calls. MiB: what one step keeps for "
        "its backward pass, or on a GPU the peak. "
        "Training counts what the weights that a run began with had taken, a dash where nothing "
        f"tells. Collapsed: below {100 * COLLAPSED:g} % exact. Differences: the 95 % interval is "
        "over seeds, on these puzzles, paired where both models have the same seeds and not "
        f"corrected for how many are compared; seeds to detect {100 * APART:g} points do so with "
        f"probability {POWER:g}."
    )


def _counts(groups: Mapping[str, Any], name: str) -> str:
    """How many puzzles the groups were scored on: one number unless they differ."""
    counts = sorted({group[name] for group in groups.values() if name in group})
    return " or ".join(map(str, counts)) or "0"


def run_cells(label: str, run: Mapping[str, Any]) -> list[str]:
    """One run's row of the list of runs."""
    if "failure" in run:
        return [label, str(run["seed"]), "-", f"failed: {run['failure']}", "-"]
    values = (f"{percent(run[k]['mean'])} ({percent(run[k]['stderr'])})" for k in _LISTED)
    planned, steps = run["planned_steps"], str(run["steps"])
    if planned is not None and run["steps"] < planned:
        steps += f" of {planned}"
    return [label, str(run["seed"]), steps, *values]


_LISTED = ("exact", "training_exact")
RUN_HEADINGS = (
    *("model", "seed", "steps"),
    *("exact % (standard error)", "training exact % (standard error)"),
)


def markdown(groups: Mapping[str, Any]) -> str:
    """The comparison as Markdown tables: % as mean ± deviation over seeds, differences by seed, and
    every run."""
    names = metric_names(groups)
    lines = grid(headings(names), [cells(name, g, names) for name, g in groups.items()])
    lines += ["", notes(groups), ""]
    if differences := compared(groups):
        cells_of = [list(row.values()) for row in differences]
        lines += [*grid(list(HEADINGS.values()), cells_of), ""]
    lines += grid(
        RUN_HEADINGS, [run_cells(name, run) for name, g in groups.items() for run in g["runs"]]
    )
    return "\n".join(lines) + "\n"
