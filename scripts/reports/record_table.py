"""A recorded result as a table: its columns, and how each is written.

Of several seeds a number is their mean ± standard deviation, of one seed the number ± its standard
error over puzzles, where that is known. COLUMN@OF is a column of the arms of that task or size,
where a record has arms of one name for several. A record may have columns of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass

from scripts.reports.numbers import counted, percent
from scripts.reports.paired import difference
from scripts.reports.records import Arm, OwnColumn, Record
from scripts.reports.tables import Table

DASH = "-"
_SEGMENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_STARTS = (1, 2, 4, 8, 16, 32, 64, 128)
_CALLS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)  # of a judge
_BINS = (1, 2, 3, 4, 5)  # of about equal size, by difficulty
_JUDGES = {"trained": "", "untrained": "untrained: "}
_RULES = {  # which candidate answers
    "single": "the first alone",
    "residual": "least residual",
    "halt-first": "first to halt",
    "restart": "first whose claim stands",
    "q": "largest halting score",
    "majority": "majority",
    "verified": "verified by the rules",
}


@dataclass(frozen=True)
class Column:
    """heading, and an arm's cell."""

    heading: str
    cell: Callable[[Arm], str]


def _spread(column: str, factor: float, form: str) -> Callable[[Arm], str]:
    """mean ± deviation of several seeds, or the one number ± its standard error."""

    def cell(arm: Arm) -> str:
        spread = arm.spread(column)
        if spread is None:
            return DASH
        mean, deviation = f"{factor * spread.mean:{form}}", spread.sd
        if spread.n == 1:
            values = [r.values[column].stderr for r in arm.runs if column in r.values]
            deviation = values[0] if values else None
        return mean if deviation is None else f"{mean} ± {factor * deviation:{form}}"

    return cell


def _mean(column: str, factor: float = 1.0) -> Callable[[Arm], str]:
    """The mean to three digits, without zeros that say nothing."""

    def cell(arm: Arm) -> str:
        spread = arm.spread(column)
        if spread is None:
            return DASH
        value = factor * spread.mean
        return f"{value:,.0f}" if abs(value) >= 100 else f"{float(f'{value:.3g}'):g}"

    return cell


def _percent(column: str, heading: str) -> Column:
    return Column(heading, _spread(column, 100, ".1f"))


def _perplexity(column: str) -> Callable[[Arm], str]:
    """Three digits, a thousand and more whole; the deviation with as many places."""

    def cell(arm: Arm) -> str:
        spread = arm.spread(column)
        if spread is None:
            return DASH
        form = ",.0f" if spread.mean >= 100 else ".1f" if spread.mean >= 10 else ".2f"
        return _spread(column, 1, form)(arm)

    return cell


def _interval(column: str) -> Callable[[Arm], str]:
    """The 95 % interval of the mean over seeds."""

    def cell(arm: Arm) -> str:
        values = arm.by_seed(column)
        if len(values) < 2:
            return DASH
        effect = difference(values, dict.fromkeys(values, 0.0))
        return f"{effect.low:.2f} to {effect.high:.2f}"

    return cell


def _on_every_seed(column: str, cell: Callable[[Arm], str]) -> Callable[[Arm], str]:
    """A dash for an arm of which a seed lacks the column: which do hangs on how they came out."""
    return lambda arm: cell(arm) if len(arm.by_seed(column)) == arm.seeds else DASH


def _seeds(arm: Arm) -> str:
    marks = [f"{getattr(arm, k)} {k}" for k in ("failed", "collapsed") if getattr(arm, k)]
    return ", ".join([str(arm.seeds), *marks])


def _each(arm: Arm) -> str:
    return ", ".join(percent(v) for _, v in sorted(arm.by_seed("exact").items())) or DASH


def _count(arm: Arm) -> str:
    counts = {v.n for run in arm.runs if (v := run.values.get("exact")) and v.n}
    return " or ".join(f"{n:,}" for n in sorted(counts)) or DASH


def _paper(arm: Arm) -> str:
    exact = arm.published.get("exact")
    return DASH if exact is None else percent(exact)


def _reported(arm: Arm) -> str:
    return "; ".join(f"{name}: {100 * exact:.4g}" for name, exact in arm.reported.items())


COLUMNS: dict[str, Column] = {
    "model": Column("model", lambda arm: arm.name),
    "row": Column("", lambda arm: arm.name),
    "parameters": Column(
        "parameters", lambda a: f"{a.parameters:,}" if a.parameters is not None else DASH
    ),
    "layers": Column("layers", lambda arm: str(arm.config.get("layers", DASH))),
    "seeds": Column("seeds", _seeds),
    "cell": _percent("cell", "cell %"),
    "exact": _percent("exact", "exact %"),
    "each": Column("exact %, each seed", _each),
    "valid": _percent("valid", "valid %"),
    "valid_shortest": _percent("valid_shortest", "valid shortest %"),
    "halted_exact": _percent("halted_exact", "exact % halting itself"),
    "halted_net_calls": Column("net calls halting itself", _mean("halted_net_calls")),
    **{f"exact_after_{n}": _percent(f"exact_after_{n}", f"exact % after {n}") for n in _SEGMENTS},
    **{
        f"exact_by_{rule}": _percent(f"exact_by_{rule}", f"{told}: exact %")
        for rule, told in _RULES.items()
    },
    **{
        f"net_calls_by_{rule}": Column(f"{told}: net calls", _mean(f"net_calls_by_{rule}"))
        for rule, told in _RULES.items()
    },
    **{f"exact_in_bin_{n}": _percent(f"exact_in_bin_{n}", f"exact %, bin {n}") for n in _BINS},
    "auroc_halting": Column("AUROC by halting score", _spread("auroc_halting", 1, ".3f")),
    "auroc_residual": Column("AUROC by residual", _spread("auroc_residual", 1, ".3f")),
    "risk_area_halting": Column(
        "risk area by halting score", _spread("risk_area_halting", 1, ".3f")
    ),
    "risk_area_residual": Column("risk area by residual", _spread("risk_area_residual", 1, ".3f")),
    **{
        f"at_rest_{n}": _percent(f"at_rest_{n}", f"at rest %, {counted(n, 'start')}")
        for n in _STARTS
    },
    **{
        f"spurious_{n}": _percent(f"spurious_{n}", f"wrong at rest %, {counted(n, 'start')}")
        for n in _STARTS
    },
    **{
        f"{net}_judge_exact_{n}": _percent(
            f"{net}_judge_exact_{n}", f"{told}exact % in {counted(n, 'call')}"
        )
        for net, told in _JUDGES.items()
        for n in _CALLS
    },
    **{
        f"{net}_judge_net_calls_{n}": Column(
            f"{told}net calls in {counted(n, 'call')}", _mean(f"{net}_judge_net_calls_{n}")
        )
        for net, told in _JUDGES.items()
        for n in _CALLS
    },
    "residual": Column("mean residual at the end", _mean("residual")),
    "training_exact": _percent("training_exact", "training exact %"),
    "cell_loss": Column("loss of the cells, last tenth", _spread("cell_loss", 1, ".3f")),
    "n": Column("n", _count),
    "training_net_calls": Column("training net calls, 1e6", _mean("training_net_calls", 1e-6)),
    "training_tflop": Column("training TFLOP", _mean("training_flops", 1e-12)),
    "training_pflop": Column("training PFLOP", _mean("training_flops", 1e-15)),
    "minutes": Column("minutes", _mean("training_seconds", 1 / 60)),
    "mib": Column("MiB kept for backward", _mean("training_bytes", 2**-20)),
    **{
        f"bytes_at_{depth}": Column(f"MiB at {depth}", _mean(f"bytes_at_{depth}", 2**-20))
        for depth in (1, 4, 16)
    },
    "net_calls": Column("net calls a puzzle", _mean("net_calls")),
    "paper": Column("paper's exact %", _paper),
    "reported": Column("others report, exact %", _reported),
    "perplexity": Column("perplexity", _perplexity("perplexity")),
    **{
        f"perplexity_at_{t}": Column(f"perplexity at T = {t}", _perplexity(f"perplexity_at_{t}"))
        for t in (0, 1, 2, 4, 8)
    },
    "evaluations": Column("evaluations", _mean("evaluations")),
    "evaluations_training": Column("evaluations in training", _mean("evaluations_training")),
    "evaluations_late": Column("in its last quarter", _mean("evaluations_late")),
    "converged": Column("converged %", _mean("converged", 100)),
    "jacobian_norm": Column("spectral norm of J", _mean("jacobian_norm")),
    "matmul_tflop": Column("training TFLOP, matmuls", _mean("matmul_flops", 1e-12)),
    "worth": Column("worth, exponent", _on_every_seed("worth", _spread("worth", 1, ".2f"))),
    "worth_interval": Column("95 % interval", _on_every_seed("worth", _interval("worth"))),
    "flops_ratio": Column("FLOPs of a step, relative", _mean("flops_ratio")),
    "published_rule_exaflops": Column("by the paper's rule", _mean("published_rule_exaflops")),
    "matmul_exaflops": Column("by matrix products", _mean("matmul_exaflops")),
    "paper_exaflops": Column("the paper", _mean("paper_exaflops")),
}


def _own(key: str, column: OwnColumn) -> Column:
    cells: dict[str, Callable[[Arm], str]] = {
        "percent": _spread(key, 100, ".1f"),
        "number": _mean(key),
        "perplexity": _perplexity(key),
        "config": lambda arm: str(arm.config.get(key, DASH)),
        "name": lambda arm: arm.name,
    }
    return Column(column.heading, cells[column.form])


def record_table(record: Record) -> Table:
    """The table of a record: a row an arm, or a row a name with COLUMN@OF for each task or size."""
    groups = list(dict.fromkeys(arm.of for arm in record.arms))
    columns = COLUMNS | {key: _own(key, column) for key, column in record.columns.items()}
    headings = {key: column.heading for key, column in columns.items()}
    if len(groups) > 1:
        headings |= {
            f"{key}@{of}": f"{of}: {column.heading}"
            for key, column in columns.items()
            for of in groups
        }
    rows: dict[str, dict[str, str]] = {}
    for arm in record.arms:
        cells = {key: column.cell(arm) for key, column in columns.items()}
        row = rows.setdefault(arm.name, dict.fromkeys(headings, DASH) | cells)
        row |= {f"{key}@{arm.of}": text for key, text in cells.items() if len(groups) > 1}
    return Table(headings, rows)
