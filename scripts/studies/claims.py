"""The paper's fourteen claims, each with a word that the recorded results give it.

How a claim gets its word. A claim has one or more contrasts: a quantity of one arm against that of
another, or against a number of the paper's. Of the records that hold both, those with enough seeds
and tokens (below) come first, of them the one of the largest scale, then of most training tokens,
then of most seeds. Its difference has a 95 % interval over seeds (`scripts.reports.paired`), and
the contrast is

* not tested: no record holds both, or none at the scale that the claim is about;
* undecided: an arm has fewer than 3 seeds, or a run that failed; a language model was trained on
  fewer than 8 million tokens; or the interval has neither of the two places below;
* held: the whole interval is on the paper's side of zero. Where the paper says "about", it lies
  within a margin of zero; where the paper gives an accuracy, no lower than 5 points below it;
* not held: the whole interval is on the other side of zero, or beyond the margin.

What is counted and not trained (FLOPs, bytes) needs no seeds. A claim is not held if one of its
contrasts is not, held if all of them are, not tested if none was, and undecided otherwise. A
collapsed run counts as what it scored; how many there are stands beside.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scripts.reports.numbers import percent
from scripts.reports.paired import ALIKE, Difference, difference, seeds_needed, summary_difference
from scripts.reports.records import SCALES, Arm, Record, Spread
from scripts.usage import UsageError

Word = Literal["held", "not held", "undecided", "not tested"]
WORDS: tuple[Word, ...] = Word.__args__
SEEDS = 3  # of each arm, to decide
TOKENS = 8e6  # of training, to decide about a language model
FIRST = 5  # seeds that it is counted from


@dataclass(frozen=True)
class Quantity:
    """A column of an arm; `of` as the arm has it."""

    arm: str
    column: str
    of: str = ""


@dataclass(frozen=True)
class Contrast:
    """`first` against `second`, which is another quantity or a number of the paper's.

    study: whose records are looked at; says: the paper's order of the two ("reaches": first is no
    less); margin: of "about" a share of `second`, of "reaches" in its unit; relative: the effect is
    first / second - 1; scale: the least that counts; language: whether TOKENS are asked for;
    judged: False for what is shown beside and gives no word.
    """

    study: str
    first: Quantity
    second: Quantity | float
    says: Literal["less", "more", "about", "reaches"]
    margin: float = 0.0
    relative: bool = False
    scale: str = ""
    language: bool = False
    judged: bool = True
    name: str = ""


@dataclass(frozen=True)
class Claim:
    """number: its place in the list; where: section or table; paper: its numbers; ours: what is
    nearest where the claim itself has not been tested; run: the words that run what is behind."""

    number: int
    name: str
    text: str
    where: str
    paper: str
    contrasts: tuple[Contrast, ...]
    run: tuple[str, ...]
    nearest: tuple[str, str, str] | None = None  # record, arm, column

    @property
    def stem(self) -> str:
        """The name of its page and its figure."""
        return f"{self.number:02}-{self.name}"

    @property
    def trains(self) -> bool:
        """Whether there are seeds to choose."""
        return self.run[1] not in ("fig4", "fig5")

    @property
    def counts_seeds(self) -> bool:
        """Whether the spread of an accuracy tells how many seeds are needed."""
        return any(contrast.first.column == "exact" for contrast in self.contrasts)

    @property
    def result(self) -> str:
        """The file that what is run writes."""
        return "comparison.json" if self.run[1] == "gradients" else f"{self.run[1]}.json"


@dataclass(frozen=True)
class Outcome:
    """A contrast's result. effect: in the contrast's unit; exact: of what is counted, which has no
    interval; first, second: their means; needed: seeds that a difference of 5 points asks for, by
    the spread of `counted` seeds."""

    contrast: Contrast
    word: Word
    why: str
    record: str | None = None
    scale: str = ""
    seeds: tuple[int, ...] = ()
    collapsed: int = 0
    failed: int = 0
    first: float | None = None
    second: float | None = None
    effect: Difference | None = None
    exact: float | None = None
    needed: int | None = None
    counted: int = 0


@dataclass(frozen=True)
class Nearest:
    """What is recorded nearest to a claim that was not tested: an arm's mean."""

    arm: str
    parameters: int | None
    mean: float

    @property
    def text(self) -> str:
        size = f", {self.parameters / 1e6:.1f}M" if self.parameters else ""
        return f"{percent(self.mean)} % ({self.arm}{size})"


@dataclass(frozen=True)
class Verdict:
    """A claim with its word and what gave it."""

    claim: Claim
    word: Word
    outcomes: tuple[Outcome, ...]
    nearest: Nearest | None = None
    records: tuple[str, ...] = ()


def judge(claim: Claim, records: Mapping[str, Record]) -> Verdict:
    """The word of a claim from the recorded results."""
    outcomes = tuple(_outcome(contrast, records) for contrast in claim.contrasts)
    words = [outcome.word for outcome in outcomes if outcome.contrast.judged]
    used = tuple(dict.fromkeys(o.record for o in outcomes if o.record is not None))
    return Verdict(claim, _combined(words), outcomes, _nearest(claim, records), used)


def _combined(words: Sequence[Word]) -> Word:
    if "not held" in words:
        return "not held"
    for word in ("held", "not tested"):
        if set(words) == {word}:
            return word
    return "undecided"


def _nearest(claim: Claim, records: Mapping[str, Record]) -> Nearest | None:
    if claim.nearest is None:
        return None
    name, arm_name, column = claim.nearest
    arm = records[name].arm(arm_name) if name in records else None
    spread = arm.spread(column) if arm else None
    return None if spread is None else Nearest(arm_name, arm.parameters, spread.mean)


# A contrast


def _outcome(contrast: Contrast, records: Mapping[str, Record]) -> Outcome:
    name = _deciding(contrast, records)
    if name is None:
        at = f" at scale {contrast.scale}" if contrast.scale else ""
        return Outcome(contrast, "not tested", f"no record of `{contrast.study}`{at} holds it")
    record = records[name]
    sides = _sides(contrast, record)
    arms = list({id(side.arm): side.arm for side in sides}.values())
    spreads = [side.spread for side in sides]
    first = spreads[0].mean
    second = spreads[1].mean if len(spreads) > 1 else contrast.second
    known = {
        "record": name,
        "scale": record.scale,
        "seeds": tuple(spread.n for spread in spreads),
        "collapsed": sum(arm.collapsed for arm in arms),
        "failed": (failed := sum(arm.failed for arm in arms)),
        "first": first,
        "second": second,
    }
    if record.computed:
        exact = first / second - 1 if contrast.relative else first - second
        word = _word(contrast, exact, exact, second)
        return Outcome(contrast, word, "counted, not trained", exact=exact, **known)
    effect = _difference(contrast, sides)
    if effect is not None:
        known |= {"effect": effect} | _needs(contrast, sides, effect)
    reasons = _reasons(contrast, sides, effect, failed)
    if reasons:
        return Outcome(contrast, "undecided", "; ".join(reasons), **known)
    word = _word(contrast, effect.low, effect.high, second)
    place = "zero" if contrast.says in ("less", "more") else "an end of the margin"
    why = f"the interval {'holds' if word == 'undecided' else 'leaves out'} {place}"
    return Outcome(contrast, word, why, **known)


@dataclass(frozen=True)
class _Side:
    """A recorded quantity of a contrast: its arm and its column of it."""

    arm: Arm
    column: str

    @property
    def spread(self) -> Spread | None:
        return self.arm.spread(self.column)

    @property
    def by_seed(self) -> dict[int, float]:
        return self.arm.by_seed(self.column)

    @property
    def tokens(self) -> float:
        """Of the arm's training; 0: not known, or none."""
        spread = self.arm.spread("training_tokens")
        return spread.mean if spread else 0.0


def _sides(contrast: Contrast, record: Record) -> list[_Side]:
    """One where the second is a number; [] where the record lacks one."""
    second = [contrast.second] if isinstance(contrast.second, Quantity) else []
    quantities = [contrast.first, *second]
    arms = [record.arm(quantity.arm, quantity.of) for quantity in quantities]
    if None in arms:
        return []
    sides = [_Side(arm, q.column) for arm, q in zip(arms, quantities, strict=True)]
    return sides if all(side.spread is not None for side in sides) else []


def _deciding(contrast: Contrast, records: Mapping[str, Record]) -> str | None:
    """The name of the record that decides a contrast; None if none holds it."""

    holding = {
        name: sides
        for name, record in records.items()
        if record.study == contrast.study
        and SCALES.index(record.scale) >= SCALES.index(contrast.scale)
        and (sides := _sides(contrast, record))
    }

    def rank(name: str) -> tuple[bool, int, float, int]:
        seeds = min(side.spread.n for side in holding[name])
        tokens = min(side.tokens for side in holding[name])
        decides = seeds >= SEEDS and (tokens >= TOKENS or not contrast.language)
        return decides, SCALES.index(records[name].scale), tokens, seeds

    return max(holding, key=rank, default=None)


def _values(contrast: Contrast, sides: Sequence[_Side]) -> tuple[dict[int, float], ...]:
    """What is compared, by seed: a number is the same for every one, and of a relative contrast
    first / second - 1 is set against 0."""
    first = sides[0].by_seed
    if len(sides) == 1:
        return first, dict.fromkeys(first, float(contrast.second))
    second = sides[1].by_seed
    if contrast.relative:
        return _ratios(first, second), dict.fromkeys(second, 0.0)
    return first, second


def _difference(contrast: Contrast, sides: Sequence[_Side]) -> Difference | None:
    """First less second; None where too little is known for an interval."""
    values = _values(contrast, sides)
    try:
        if all(values):
            return difference(*values)
        if contrast.relative or len(sides) == 1:
            return None
        return summary_difference(*(side.spread for side in sides))
    except UsageError:
        return None


def _ratios(first: Mapping[int, float], second: Mapping[int, float]) -> dict[int, float]:
    """first / second - 1 by seed, where both have it."""
    return {seed: first[seed] / second[seed] - 1 for seed in first if seed in second}


def _needs(contrast: Contrast, sides: Sequence[_Side], effect: Difference) -> dict[str, int]:
    """Seeds that a difference of 5 points asks for, at the spread of the first five, or of as many
    as there are."""
    if contrast.first.column != "exact":
        return {}
    few = [dict(sorted(values.items())[:FIRST]) for values in _values(contrast, sides)]
    if all(few):  # else means and deviations are all that is known
        effect = difference(*few)
    return {"needed": seeds_needed(effect.deviation, paired=effect.paired), "counted": effect.n}


def _reasons(
    contrast: Contrast, sides: Sequence[_Side], effect: Difference | None, failed: int
) -> list[str]:
    """Why a contrast cannot be decided by this record.

    sides: what it compares. effect: the difference with its interval; None: no spread is known.
    failed: runs of its arms.
    """
    reasons = []
    seeds = min(side.spread.n for side in sides)
    if seeds < SEEDS:
        reasons.append("one seed" if seeds == 1 else f"{seeds} seeds")
    elif effect is None:
        reasons.append("no spread is known")
    elif effect.high - effect.low <= ALIKE:
        reasons.append("all seeds differ alike")
    if failed:
        reasons.append(f"{failed} failed")
    if contrast.language and (tokens := min(side.tokens for side in sides)) < TOKENS:
        reasons.append(f"{tokens / 1e6:.1f} million tokens")
    return reasons


def _word(contrast: Contrast, low: float, high: float, second: float) -> Word:
    """By where the interval (low, high) of first less second lies, and what the contrast says.

    second: the second's value, of which a margin may be a share.
    """
    start, end = place(contrast, second)
    if start < low and high < end:
        return "held"
    return "not held" if high < start or low > end else "undecided"


def place(contrast: Contrast, second: float) -> tuple[float, float]:
    """From where to where first less second lies by what the contrast says. second: as of
    `_word`."""
    if contrast.says == "about":
        margin = contrast.margin * (1 if contrast.relative else abs(second))
        return -margin, margin
    if contrast.says == "reaches":
        return -contrast.margin, math.inf
    return (0.0, math.inf) if contrast.says == "more" else (-math.inf, 0.0)
