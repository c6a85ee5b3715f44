"""Verdicts on the paper's claims as texts of tables, as JSON, and as what a figure shows."""

import shlex
from dataclasses import asdict, replace
from typing import Any

from scripts.reports.claim_figure import Bar
from scripts.studies.claims import Contrast, Outcome, Verdict, place


def describe(verdict: Verdict) -> dict[str, Any]:
    """A verdict as JSON has it; texts of `judged` contrasts where a page has one cell."""
    claim, judged = verdict.claim, [o for o in verdict.outcomes if o.contrast.judged]
    nearest = verdict.nearest.text if verdict.nearest else ""
    shown = [outcome for outcome in judged if outcome.record is not None]
    beside = [o for o in verdict.outcomes if o.record is not None and not o.contrast.judged]
    return {
        "number": claim.number,
        "name": claim.name,
        "claim": claim.text,
        "where": claim.where,
        "paper": claim.paper,
        "word": verdict.word,
        "ours": "; ".join(_named(o, _means(o)) for o in shown) or nearest or "-",
        "scale": ", ".join(dict.fromkeys(_scale(o) for o in shown)) or "-",
        "seeds": "; ".join(dict.fromkeys(_seeds(o) for o in shown)) or "-",
        "effect": "; ".join(_named(o, _effect(o)) for o in shown) or "-",
        "beside": "; ".join(_named(o, _effect(o)) for o in beside) or "-",
        "why": "; ".join(dict.fromkeys(o.why for o in judged)),
        "records": list(verdict.records),
        "run": shlex.join(["loopbench", *claim.run]),
        "contrasts": [_contrast(outcome) for outcome in verdict.outcomes],
    }


def bars(verdict: Verdict) -> list[Bar]:
    """A bar for each contrast that has numbers; of a claim that was not tested, what is recorded
    nearest to it against the paper's number."""
    drawn = [_bar(outcome) for outcome in verdict.outcomes if outcome.record is not None]
    if not drawn and verdict.nearest is not None:
        contrast = verdict.outcomes[0].contrast
        apart = verdict.nearest.mean - contrast.second
        drawn = [_told(contrast, "nearest, another model", apart, contrast.second)]
    return drawn


def _bar(outcome: Outcome) -> Bar:
    contrast, effect = outcome.contrast, outcome.effect
    mean = outcome.exact if effect is None else effect.mean
    if mean is None:
        mean = outcome.first - outcome.second
    bar = _told(contrast, contrast.name, mean, outcome.second)
    if effect is None:
        return bar
    factor, *_ = _unit(contrast, contrast.relative)
    return replace(bar, low=factor * effect.low, high=factor * effect.high)


def _told(contrast: Contrast, name: str, mean: float, second: float) -> Bar:
    """A bar without an interval, in the unit in which the contrast is told.

    name: of the bar; mean: first less second; second: the second's value.
    """
    factor, _, unit = _unit(contrast, contrast.relative)
    start, end = (factor * x for x in place(contrast, second))
    what = _QUANTITIES.get(contrast.first.column, contrast.first.column) + ("," + unit) * bool(unit)
    return Bar(name, factor * mean, factor * mean, factor * mean, start, end, what)


def _contrast(outcome: Outcome) -> dict[str, Any]:
    values = asdict(outcome)
    contrast = values.pop("contrast")
    kept = ("name", "study", "says", "margin", "relative", "judged")
    return {name: contrast[name] for name in kept} | values


# Of a column: what it is multiplied by, its format, the unit of a difference of it.
_UNITS = {"exact": (100, ".1f", " points"), "perplexity": (1, ".2f", "")}
_OTHER = (1, ".1f", "")
_QUANTITIES = {  # as a figure names a column
    "exact": "exact accuracy",
    "matmul_exaflops": "training FLOPs",
    "published_rule_exaflops": "training FLOPs",
    "bytes_at_16": "bytes",
    "evaluations_late": "evaluations",
}


def _unit(contrast: Contrast, relative: bool) -> tuple[float, str, str]:
    return (100, ".0f", " %") if relative else _UNITS.get(contrast.first.column, _OTHER)


def _named(outcome: Outcome, text: str) -> str:
    return f"{outcome.contrast.name}: {text}" if outcome.contrast.name else text


def _scale(outcome: Outcome) -> str:
    return outcome.scale or "counted"


def _means(outcome: Outcome) -> str:
    factor, form, _ = _unit(outcome.contrast, False)
    if outcome.contrast.relative:
        return f"{outcome.first / outcome.second:.2f} times"
    return f"{factor * outcome.first:{form}} for {factor * outcome.second:{form}}"


def _seeds(outcome: Outcome) -> str:
    if outcome.exact is not None:
        return "-"
    counts = " and ".join(map(str, dict.fromkeys(outcome.seeds)))
    marks = [f"{getattr(outcome, k)} {k}" for k in ("collapsed", "failed") if getattr(outcome, k)]
    return ", ".join([counts, *marks])


def _effect(outcome: Outcome) -> str:
    factor, form, unit = _unit(outcome.contrast, outcome.contrast.relative)
    form = "+" + form
    if outcome.exact is not None:
        return f"{factor * outcome.exact:{form}}{unit}"
    if outcome.effect is None:
        return f"{factor * (outcome.first - outcome.second):{form}}{unit}, no interval"
    mean, low, high = (
        factor * x for x in (outcome.effect.mean, outcome.effect.low, outcome.effect.high)
    )
    return f"{mean:{form}}{unit} [{low:{form}}, {high:{form}}]"
