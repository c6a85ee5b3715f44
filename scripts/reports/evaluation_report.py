"""What `loopbench evaluate` prints of a record, and the pictures it draws of one."""

import json
from pathlib import Path
from typing import Any

from rich.table import Table

from scripts.reports.earlier import set_aside
from scripts.reports.numbers import accuracy, counted, percent
from scripts.reports.pictures import plot_cost, plot_grid, plot_risk
from scripts.terminal.console import Console

_PICTURES = ("grid", "cost", "risk")


def keep_earlier(path: Path, record: dict[str, Any]) -> Path | None:
    """Before a record is written: one that lies there and would be lost, for it was asked something
    else or cannot be read, becomes NAME-earlier-N.json, its pictures with it. Returns where it is.
    """
    if not path.is_file():
        return None
    try:
        before = json.loads(path.read_text())
        was, now = (each.get("judged", {}).get("asked") for each in (before, record))
        if before.get("asked") == record["asked"] and was in (None, now):
            return None
    except (ValueError, AttributeError):  # no JSON, or none of ours
        pass
    return set_aside(path, *(f"-{name}.png" for name in _PICTURES))


def print_record(record: dict[str, Any], title: str, console: Console) -> None:
    """The metrics, and the breakdown by difficulty, as a table."""
    names = list(record["metrics"])
    table = Table(title=title)
    for heading in ("puzzles", "n", *(f"{name} %" for name in names)):
        table.add_column(heading, justify="right" if heading != "puzzles" else "left")

    def row(label: str, values: dict[str, dict[str, float]]) -> None:
        table.add_row(label, str(values["exact"]["n"]), *(accuracy(values[n]) for n in names))

    row("all", record["metrics"])
    breakdown = record.get("by_difficulty")
    if breakdown:
        table.caption = f"by {breakdown['name']}; all bins but the last are open above"
        for part in breakdown["bins"]:
            row(f"{part['from']:.3g} to {part['to']:.3g}", part["metrics"])
    console.print(table)
    _print_selection(record, console)
    cost = f"{record['net_calls_per_puzzle']:.1f} net calls a puzzle"
    if "evaluations_per_puzzle" in record:
        cost += f", {record['evaluations_per_puzzle']:.1f} of the solver's evaluations"
    known = {name: value for name, value in record["median_residual"].items() if value}
    if known:
        shown = ", ".join(f"{value:.2g} where {name}" for name, value in known.items())
        cost += f"; median last residual ({record['search']['residual_of']}) {shown}"
    if record["search"]["leave"] is not None:
        cost += f"; starts leave at {record['search']['leave']:g}"
    if record["search"]["until_claimed"]:
        cost += "; a claim (halting score > 0, answer unchanged) ends its puzzle"
    console.print(f"{record['segments']} segments, {cost}")
    _print_rest(record["at_rest"], console)
    for name, score in record["abstention"].items():
        if score["auroc"]:
            area = score["risk_coverage"]["area"]
            console.print(
                f"{name} as confidence: AUROC {_plain(score['auroc'])}, area under risk-coverage "
                f"{_plain(area)} (best possible {score['risk_coverage']['best_area']:.3f})"
            )
    if "judged" in record:
        _print_judged(record["judged"], console)


def _print_rest(rest: dict[str, Any], console: Console) -> None:
    """How often a state at rest, or a claim to be right, is a wrong answer, by how many candidates
    it was chosen from and by what."""
    table = Table(
        title="are states at rest right?",
        caption=f"{rest['puzzles']} puzzles; at rest: residual <= {rest['residual']:g}; claimed: "
        "halting score > 0; area: under risk-coverage",
    )
    headings = ("candidates", "chosen by", "at rest %", "of those wrong %", "claimed %")
    for heading in (*headings, "of those wrong %", "area"):
        table.add_column(heading, justify="left" if heading == "chosen by" else "right")
    for place, breadth in enumerate(rest["breadths"]):
        for rule, rates in rest["by"].items():
            cells = []
            for certificate in ("at_rest", "claimed"):
                at = {name: values[place] for name, values in rates[certificate].items()}
                wrong = f"{percent(at['wrong'], at['stderr'])} (n {at['n']})" if at["n"] else "-"
                cells += [percent(at["share"]), wrong]
            area = {name: values[place] for name, values in rates["area"].items()}
            table.add_row(str(breadth), rule, *cells, _plain(area))
    console.print(table)


def _print_judged(judged: dict[str, Any], console: Console) -> None:
    """The search with the net as judge, by calls, beside the same with an untrained net."""
    table = Table(
        title="searched with the net as judge, which checks the rules: apart from the headline",
        caption=f"{judged['n']} puzzles, {judged['segments']} segments a call",
    )
    table.add_column("calls", justify="right")
    names = [name for name in ("trained", "untrained") if name in judged]
    for name in names:
        table.add_column(f"{name} net: exact %", justify="right")
        table.add_column("net calls", justify="right")
    for place, calls in enumerate(judged["budgets"]):
        cells = []
        for name in names:
            exact = {key: values[place] for key, values in judged[name]["exact"].items()}
            cells += [accuracy(exact), f"{judged[name]['net_calls']['mean'][place]:.1f}"]
        table.add_row(str(calls), *cells)
    console.print(table)


def _plain(value: dict[str, float]) -> str:
    deviation = "" if value["stderr"] is None else f" ± {value['stderr']:.3f}"
    return f"{value['mean']:.3f}{deviation}"


def _print_selection(record: dict[str, Any], console: Console) -> None:
    """Every rule of selection, the headline's first, the one that checks the rules last. Of one
    candidate only those that stop it early say something new."""
    names, search = list(record["metrics"]), record["search"]
    rules = sorted(record["selection"], key=lambda rule: rule != search["rule"])
    if search["candidates"] == 1:
        early = (search["rule"], "halt-first", "restart", "verified")
        rules = [rule for rule in rules if rule in early]
    amounts = (search["breadth"], "start"), (search["symmetries"], "image")
    shape = " x ".join(counted(*amount) for amount in amounts)
    table = Table(title=f"by rule of selection, {shape}, {record['segments']} segments")
    headings = (*(f"{name} %" for name in names), "net calls", "evaluations")
    table.add_column("rule")
    for heading in headings:
        table.add_column(heading, justify="right")
    for rule in rules:
        row = record["selection"][rule]
        label = {search["rule"]: f"{rule} (headline)", "verified": "verified (checks the rules)"}
        if rule == "verified":
            table.add_section()
        table.add_row(
            label.get(rule, rule),
            *(accuracy(row["metrics"][name]) for name in names),
            *(f"{row[f'{cost}_per_puzzle']['mean']:.1f}" for cost in ("net_calls", "evaluations")),
        )
    console.print(table)


def write_pictures(record: dict[str, Any], stem: Path) -> list[Path]:
    """Draw what a record has to show: STEM-grid.png for more than one candidate, STEM-cost.png for
    more than one depth or breadth, STEM-risk.png where some answers are right and some wrong.
    Those of an earlier record go."""
    grid, rule, written = record["grid"], record["search"]["rule"], []
    for name in _PICTURES:
        stem.with_name(f"{stem.name}-{name}.png").unlink(missing_ok=True)

    def place(name: str) -> Path:
        written.append(stem.with_name(f"{stem.name}-{name}.png"))
        return written[-1]

    if len(grid["breadths"]) > 1:
        plot_grid(grid, rule, place("grid"))
    if len(grid["breadths"]) * len(grid["depths"]) > 1:
        plot_cost(grid, rule, place("cost"))
    if all(score["auroc"] for score in record["abstention"].values()):
        plot_risk(record["abstention"], place("risk"))
    return written
