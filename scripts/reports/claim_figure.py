"""The figure of a claim: how far the first is from the second, and where the paper has it."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from scripts.reports.pictures import finish, new_figure

_INK, _PAPER = "C0", "0.88"


@dataclass(frozen=True)
class Bar:
    """low, mean, high: first less second with its interval, all the same where there is none;
    start, end: between these it lies if the claim holds, infinite where there is no end; unit: of
    them all."""

    name: str
    low: float
    mean: float
    high: float
    start: float
    end: float
    unit: str


def plot_claim(bars: Sequence[Bar], path: Path) -> None:
    """Drawn to a PNG, which says the `numbers` under Description: an axis for each bar, for their
    units and sizes differ, with the mean, the interval or a hollow mark where there is none, and
    grey where the claim would have it."""
    figure = new_figure(7, 0.5 + 0.85 * len(bars))
    rows = figure.subplots(len(bars), 1, squeeze=False)[:, 0]
    for axes, bar in zip(rows, bars, strict=True):
        low, high = min(0.0, bar.low), max(0.0, bar.high)
        for end in filter(math.isfinite, (bar.start, bar.end)):
            low, high = min(low, end), max(high, end)
        room = 0.12 * (high - low) or 1.0
        low, high = low - room, high + room
        axes.axvspan(max(bar.start, low), min(bar.end, high), color=_PAPER, zorder=0)
        axes.axvline(0, color="0.4", lw=1)
        certain = bar.low < bar.high
        axes.plot([bar.low, bar.high], [0, 0], color=_INK, lw=3, solid_capstyle="butt")
        axes.plot(bar.mean, 0, "o", ms=8, color=_INK, mfc=_INK if certain else "white")
        axes.set(xlim=(low, high), ylim=(-1, 1), yticks=[])
        named = bar.name or ("the claim" if len(bars) > 1 else "")
        axes.set_xlabel(
            f"{named}: {bar.unit}" if named not in ("", bar.unit) else bar.unit, fontsize=9
        )
        axes.spines["left"].set_visible(False)
    finish(rows, figure, path, {"Description": numbers(bars)})


def numbers(bars: Sequence[Bar]) -> str:
    """What a figure says of the bars: as JSON, to six digits, for another machine's sums end
    otherwise."""
    return json.dumps(
        [{k: v if isinstance(v, str) else f"{v:.6g}" for k, v in asdict(b).items()} for b in bars]
    )
