"""Exponents: how the time of a step, and of an evaluation, grows along each axis of the bench's
scaling, beside what theory allows and what its matrix products alone make of it."""

import math
from collections.abc import Sequence
from typing import Any

Record = dict[str, Any]

# Largest exponents of the work: attention is quadratic in cells and in tokens, a product of a
# state with a matrix in the width; all else is linear.
THEORY = {
    "batch": 1,
    "grid": 2,
    "width": 2,
    "layers": 1,
    "segments": 1,
    "evaluations": 1,
    "tokens": 2,
}
ABOVE = 0.15  # an exponent of time so far above that of the FLOPs asks for a reason


def exponents(records: Sequence[Record]) -> list[Record]:
    """A row for every preset and axis of two sizes or more.

    step, evaluation: least-squares exponents of the seconds; flops, evaluation_flops: of the
    FLOPs as executed; end, end_flops: between the two largest sizes, of a step, or of an evaluation
    where nothing is trained. Sizes of a grid are its cells. above: whether the time's exponent is
    ABOVE more than the FLOPs', over all sizes or at the end.
    """
    fits = []
    for preset, axis in dict.fromkeys((r["preset"], r["axis"]) for r in records):
        rows = [r for r in records if (r["preset"], r["axis"]) == (preset, axis)]
        rows.sort(key=lambda r: r["value"])
        if len(rows) < 2:
            continue
        sizes = [r["value"] ** 2 if axis == "grid" else r["value"] for r in rows]
        row: Record = {
            "preset": preset,
            "axis": "cells" if axis == "grid" else axis,
            "from": sizes[0],
            "to": sizes[-1],
            "theory": THEORY[axis],
        }
        spent = _spent(rows)
        for name, values in spent.items():
            row[name] = exponent(sizes, values)
        last = "step" if "step" in spent else "evaluation"
        counted = "flops" if last == "step" else "evaluation_flops"
        row["end"] = exponent(sizes[-2:], spent[last][-2:])
        row["end_flops"] = exponent(sizes[-2:], spent[counted][-2:])
        pairs = (("step", "flops"), ("evaluation", "evaluation_flops"), ("end", "end_flops"))
        row["above"] = any(a in row and row[a] > row[b] + ABOVE for a, b in pairs)
        fits.append(row)
    return fits


def _spent(rows: Sequence[Record]) -> dict[str, list[float]]:
    """What each size took, of what was measured."""
    columns = {}
    if "seconds_per_step" in rows[0]:
        columns["step"] = [r["seconds_per_step"] for r in rows]
        columns["flops"] = [r["flops_per_step"] for r in rows]
    if "seconds_per_evaluated_segment" in rows[0]:
        columns["evaluation"] = [r["segments"] * r["seconds_per_evaluated_segment"] for r in rows]
        counted = [r["segments"] * r["flops_per_evaluated_segment"] for r in rows]
        columns["evaluation_flops"] = counted
    return columns


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The p of values ~ sizes^p, by least squares on logarithms."""
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in values]
    middle, height = sum(x) / len(x), sum(y) / len(y)
    over = sum((a - middle) * (b - height) for a, b in zip(x, y, strict=True))
    return over / sum((a - middle) ** 2 for a in x)
