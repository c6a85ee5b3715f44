"""Tables 1, 3, 4, 5 and 6 of the paper: their rows, the published numbers, and what is claimed.

A row is a trained variant and a way of reading it out, so that one run can stand in several rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from scripts.models.variants import Variant, chosen, file_name
from scripts.studies.language.reading import OWN, PROPOSAL, Reading
from scripts.usage import UsageError

# A published number, one with its deviation, or a word such as T_max.
Published = float | tuple[float, float] | str


@dataclass(frozen=True)
class Entry:
    """A row: its name, what is trained, how it is read out, and the paper's numbers by column."""

    name: str
    variant: Variant
    published: Mapping[str, Published] = field(default_factory=dict)
    reading: Reading = OWN


@dataclass(frozen=True)
class Claim:
    """That `column` of row `less` is below that of row `more`."""

    text: str
    less: str
    more: str
    column: str = "perplexity"


@dataclass(frozen=True)
class Relative:
    """A column made of another: every row's over the reference row's, or the difference."""

    column: str
    reference: str
    kind: Literal["ratio", "difference"] = "ratio"


@dataclass(frozen=True)
class Worth:
    """A column made of `column`, a perplexity: of a looped stack the exponent of its loops
    (`scripts.studies.language.worth`), by the rows whose stack is applied once."""

    column: str = "perplexity"


@dataclass(frozen=True)
class LanguageTable:
    """entries: rows by size; at `mini` those of "mini", else those of the first size.

    columns: of every row; costs: of every variant trained; both beside the published numbers;
    relative: columns made of others; sweep: also score at several T; also: rows at every size that
    were asked for beside the paper's.
    """

    title: str
    entries: Mapping[str, tuple[Entry, ...]]
    columns: tuple[str, ...]
    costs: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    relative: Mapping[str, Relative | Worth] = field(default_factory=dict)
    sweep: bool = False
    note: str = ""
    also: tuple[Entry, ...] = ()

    def beside(self, models: Sequence[str]) -> "LanguageTable":
        """The table with a row for each of these models too. UsageError for one that it has."""
        known = {e.variant.name for entries in self.entries.values() for e in entries}
        for model in models:
            if model in known:
                raise UsageError(f"--also: {model} is a row already")
        also = tuple(Entry(model, Variant(file_name(model), model)) for model in models)
        return replace(self, also=also)

    def rows(self, size: str) -> tuple[Entry, ...]:
        """The entries at a size."""
        return (*(self.entries.get(size) or next(iter(self.entries.values()))), *self.also)

    def sizes(self, scale: str, chosen: tuple[str, ...]) -> tuple[str, ...]:
        """mini, or the published sizes (those chosen). UsageError for one that is not there."""
        return sizes_of(self.entries, scale, chosen)

    def variants(self, size: str, only: Sequence[str]) -> tuple[Variant, ...]:
        """What is trained at a size for these rows, all if none is named, and for those that were
        asked for beside; each once. UsageError for a row that is not there."""
        known = {entry.variant.name: entry.variant for entry in self.rows(size)}
        wanted = chosen(only, known) | {entry.variant.name for entry in self.also}
        return tuple(variant for name, variant in known.items() if name in wanted)


def sizes_of(known: Iterable[str], scale: str, chosen: tuple[str, ...]) -> tuple[str, ...]:
    """Of the sizes that a table or figure has: mini, or the published ones (those chosen).
    UsageError for one that is not there."""
    published = tuple(size for size in known if size != "mini")
    if set(chosen) - set(published) or (chosen and scale == "mini"):
        raise UsageError(
            f"--sizes {' '.join(chosen)}: there are {', '.join(published)} at full scale and the "
            "one size mini at mini"
        )
    return ("mini",) if scale == "mini" else tuple(dict.fromkeys(chosen)) or published


def changed(name: str, model: str = "attractor", **changes: object) -> Variant:
    """A variant that differs from its preset in fields of the model."""
    return Variant(name, model, {"model": changes})


TRANSFORMER, PLAIN, LOOPED, PARCAE, ATTRACTOR, DEQ, DEQ_TIED = (
    Variant(name, name)
    for name in (
        *("transformer", "transformer-plain", "transformer-looped", "parcae", "attractor"),
        *("deq", "deq-tied"),
    )
)
BACKBONE = Variant(
    "attractor-backbone", "attractor", {"model": {"head": "absent"}, "jacobian_every": 0}
)
FROZEN = changed("attractor-frozen", head="frozen")
PICARD = changed("attractor-picard", solver={"kind": "picard"})
INITIAL = changed("attractor-initial", injection="initial")
CONCATENATION = changed("attractor-concatenation", injection="concatenation")
ZERO = changed("attractor-zero", start="zero")
GAUSSIAN = changed("attractor-gaussian", start="gaussian")
_ADJOINT = {"kind": "adjoint", "tolerance": 3e-4, "max_evaluations": 64, "min_evaluations": 6}
ADJOINT = changed("attractor-adjoint", gradient=_ADJOINT)
PHANTOM = changed("attractor-phantom", gradient={"kind": "phantom", "steps": 3})
NEUMANN = changed("attractor-neumann", gradient={"kind": "neumann", "terms": 1})


# Table 1: validation and LAMBADA perplexity, CORE and CORE-Extended with their deviations.
_SCORES = ("perplexity", "lambada", "core", "extended")
_TABLE_1 = {
    "140m": {
        "Transformer": (21.48, 127.39, (13.00, 0.15), (8.80, 0.21)),
        "Parcae": (19.06, 80.64, (14.04, 0.20), (9.67, 0.28)),
        "Attractor": (18.30, 68.02, (14.59, 0.11), (10.03, 0.05)),
    },
    "370m": {
        "Transformer": (15.79, 40.77, (17.46, 0.03), (11.71, 0.22)),
        "Parcae": (14.49, 32.74, (20.00, 0.06), (12.75, 0.31)),
        "Attractor": (14.03, 27.14, (20.24, 0.09), (12.64, 0.33)),
    },
    "770m": {
        "Transformer": (13.08, 22.37, (22.42, 0.20), (14.20, 0.63)),
        "Parcae": (12.49, 19.71, (25.07, 0.33), (15.19, 0.43)),
        "Attractor": (12.09, 15.21, (26.83, 0.29), (15.42, 0.51)),
    },
    "1.3b": {"Transformer": (11.95, 17.26, (25.45, 0.08), (15.90, 0.23))},
}
# Validation perplexity, about: read off figure 7, though 4.3 says that quality peaks at T = 1.
_SOLVED = {"140m": 18.54, "370m": 14.25, "770m": 12.31}


_T0, _SOLVER = "Attractor, T = 0", "Attractor, solved"
_ONCE = "Transformer without value tables"


def _scaling(size: str) -> tuple[Entry, ...]:
    published = {
        name: dict(zip(_SCORES, numbers, strict=True)) for name, numbers in _TABLE_1[size].items()
    }
    first = Entry("Transformer", TRANSFORMER, published["Transformer"])
    if "Attractor" not in published:
        return (first,)
    return (
        first,
        Entry(_ONCE, PLAIN),
        Entry("Parcae", PARCAE, published["Parcae"]),
        Entry(_T0, ATTRACTOR, published["Attractor"], PROPOSAL),
        Entry(_SOLVER, ATTRACTOR, {"perplexity": _SOLVED[size]}),
    )


_CONTROLS = (
    Entry("its own stack twice", LOOPED),
    Entry("backbone alone", BACKBONE),
    Entry("Attractor, head frozen, T = 0", FROZEN, reading=PROPOSAL),
    Entry("Attractor, head frozen", FROZEN),
    Entry("Attractor, Picard, T = 0", PICARD, reading=PROPOSAL),
    Entry("Attractor, Picard", PICARD),
)

TABLE_1 = LanguageTable(
    "Table 1: parameter scaling",
    {size: _scaling(size) for size in _TABLE_1} | {"mini": (*_scaling("140m"), *_CONTROLS)},
    ("perplexity", "bits_per_byte", "evaluations", "lambada", "core", "extended"),
    (
        *("parameters", "evaluations_training", "evaluations_late"),
        *("published_flops", "matmul_flops", "matmul_flops_per_parameter", "step_seconds"),
    ),
    (
        Claim("the Attractor is better than the Transformer", _T0, "Transformer"),
        Claim("the Attractor is better than Parcae", _T0, "Parcae"),
        Claim("the same, solved", _SOLVER, "Transformer"),
        Claim("the same, solved", _SOLVER, "Parcae"),
        Claim("not in the paper: better than its own stack applied once", _SOLVER, _ONCE),
        Claim("the proposal alone reads out no worse", _T0, _SOLVER),
        Claim("fewer FLOPs than Parcae", _SOLVER, "Parcae", "published_flops"),
        Claim("fewer FLOPs as measured", _SOLVER, "Parcae", "matmul_flops"),
    ),
    sweep=True,
    note="The published Attractor rows are the proposal read out without solving (T = 0); the "
    "perplexities beside the solved rows, which the paper's table does not have, are read off its "
    "figure 7, about, where its text has them best at T = 1.",
)

_SMALL = ("perplexity", "evaluations", "converged", "core")
_TRAINED = (
    "parameters",
    "evaluations_training",
    "evaluations_late",
    "matmul_flops",
    "step_seconds",
)
TABLE_3 = LanguageTable(
    "Table 3: comparison to DEQ",
    {
        "60m": (
            Entry("DEQ", DEQ, {"perplexity": 42.18, "evaluations": 14.6, "core": (5.21, 0.14)}),
            Entry(
                "DEQ, tied unembedding",
                DEQ_TIED,
                {"perplexity": 38.74, "evaluations": 13.9, "core": (5.83, 0.12)},
            ),
            Entry(
                "Attractor",
                ATTRACTOR,
                {"perplexity": 34.05, "evaluations": 8.4, "core": (6.74, 0.10)},
            ),
        )
    },
    _SMALL,
    _TRAINED,
    (
        Claim("tying the unembedding helps", "DEQ, tied unembedding", "DEQ"),
        Claim("the Attractor is better than both", "Attractor", "DEQ, tied unembedding"),
        Claim("with fewer evaluations", "Attractor", "DEQ, tied unembedding", "evaluations"),
    ),
)

TABLE_4 = LanguageTable(
    "Table 4: injection of the proposal",
    {
        "60m": (
            Entry(
                "initial only",
                INITIAL,
                {"perplexity": 51.92, "evaluations": "T_max", "converged": 12.4},
            ),
            Entry(
                "concatenation",
                CONCATENATION,
                {"perplexity": 36.81, "evaluations": 11.2, "converged": 88.6},
            ),
            Entry(
                "additive", ATTRACTOR, {"perplexity": 34.05, "evaluations": 8.4, "converged": 99.7}
            ),
        )
    },
    _SMALL[:-1],
    _TRAINED,
    (
        Claim("concatenation is better than initial only", "concatenation", "initial only"),
        Claim("additive is better than concatenation", "additive", "concatenation"),
        Claim("with fewer evaluations", "additive", "concatenation", "evaluations"),
    ),
    note="Under initial only an implicit gradient does not reach the backbone at all: the fixed "
    "point does not depend on where the solver starts.",
)

TABLE_5 = LanguageTable(
    "Table 5: backward pass",
    {
        "60m": (
            Entry(
                "full IFT (Anderson on u)",
                ADJOINT,
                {"perplexity": 33.91, "memory_ratio": 4.8, "time_ratio": 2.7},
            ),
            Entry(
                "phantom, K 3",
                PHANTOM,
                {"perplexity": 34.02, "memory_ratio": 1.8, "time_ratio": 1.4, "over_full": 0.11},
            ),
            Entry("u = v + J^T v (released code)", NEUMANN),
            Entry(
                "one-step, u = v",
                ATTRACTOR,
                {"perplexity": 34.05, "memory_ratio": 1.0, "time_ratio": 1.0, "over_full": 0.14},
            ),
        )
    },
    ("perplexity", "over_full", "evaluations", "converged"),
    ("memory_ratio", "step_bytes", "time_ratio", "step_seconds", "flops_ratio", "step_flops"),
    (
        Claim("full IFT is better than one-step", "full IFT (Anderson on u)", "one-step, u = v"),
        Claim(
            "one-step takes less time than full IFT",
            "one-step, u = v",
            "full IFT (Anderson on u)",
            "step_seconds",
        ),
    ),
    {
        "flops_ratio": Relative("step_flops", "one-step, u = v"),
        "memory_ratio": Relative("step_bytes", "one-step, u = v"),
        "time_ratio": Relative("step_seconds", "one-step, u = v"),
        "over_full": Relative("perplexity", "full IFT (Anderson on u)", "difference"),
    },
    note="Memory and FLOPs are of one step from the trained weights, as executed. Memory: on a GPU "
    "the peak allocated, elsewhere the bytes that autograd keeps for the backward pass, parameters "
    "included, which do not show the adjoint solver's own history.",
)

_STRICT = {"max_evaluations": 64, "tolerance": 1e-4}
TABLE_6 = LanguageTable(
    "Table 6: start of the solver",
    {
        "60m": (
            Entry(
                "zero",
                ZERO,
                {"perplexity": 43.87, "evaluations": 14.8, "converged": 71.3, "core": (5.42, 0.13)},
            ),
            Entry(
                "Gaussian",
                GAUSSIAN,
                {"perplexity": 41.26, "evaluations": 13.6, "converged": 78.9, "core": (5.71, 0.11)},
            ),
            Entry(
                "proposal",
                ATTRACTOR,
                {"perplexity": 34.05, "evaluations": 8.4, "converged": 99.7, "core": (6.74, 0.10)},
            ),
            *(
                Entry(f"{which} started at {start}", ATTRACTOR, {}, Reading(**budget, start=start))
                for which, budget in (("proposal model,", {}), ("the same, to 1e-4,", _STRICT))
                for start in ("zero", "gaussian", "proposal")
            ),
        )
    },
    _SMALL,
    _TRAINED,
    (
        Claim("the proposal is better than Gaussian", "proposal", "Gaussian"),
        Claim("Gaussian is better than zero", "Gaussian", "zero"),
        Claim("with fewer evaluations", "proposal", "zero", "evaluations"),
    ),
    note="A unique fixed point does not depend on where its solver starts: where the last rows "
    "differ, tokens did not converge or have several fixed points.",
)


def _with(name: str, **changes: object) -> Variant:
    """An Attractor that differs in fields of its run."""
    return Variant(f"attractor-{name}", "attractor", changes)


# Beside the paper: what keeps the map contracting at a rate at which it does not.
CONTRACTION = LanguageTable(
    "What keeps the fixed point?",
    {
        "60m": (
            Entry("as it is", ATTRACTOR),
            *(
                Entry(
                    f"Jacobian by {weight:g}",
                    _with(f"jacobian-{weight:g}", loss={"jacobian": weight}),
                )
                for weight in (0.01, 0.1, 1.0)
            ),
            Entry("head's rate a tenth", _with("slow-head", optimizer={"head_lr_scale": 0.05})),
            Entry(
                "gate of at most 0.25",
                changed("attractor-gate", gate={"initial": 0.25, "maximum": 0.25}),
            ),
            *(
                Entry(
                    f"proposal pulled by {weight:g}",
                    _with(f"pulled-{weight:g}", loss={"internalisation": weight}),
                )
                for weight in (0.1, 1.0)
            ),
            Entry("head frozen", FROZEN),
            Entry("its own stack once", PLAIN),
        )
    },
    ("perplexity", "evaluations", "converged"),
    (*_TRAINED, "jacobian_norm"),
    sweep=True,
    note="Jacobian: its squared norm an element in the loss (Bai et al. 2021) by a weight; pulled: "
    "|c - y*|^2 / |y*|^2 in its place, c the proposal and y* the solution. The spectral norm is an "
    "estimate at the last step.",
)


def _stack(layers: int, loops: int, preset: int) -> Entry:
    """Layers, applied as often as that; preset: how many the size's own stack has."""
    times = {1: "", 2: ", twice"}.get(loops, f", {loops} times")
    name = f"{layers} {'layer' if layers == 1 else 'layers'}{times}"
    if layers == preset and loops in (1, 2):
        return Entry(name, (PLAIN, LOOPED)[loops - 1])
    shape = {"layers": layers, "loops": loops}
    return Entry(name, changed(f"stack-{layers}x{loops}", "transformer-plain", **shape))


def _stacks(preset: int) -> tuple[Entry, ...]:
    shapes = [(1, 1), (2, 1), (4, 1), (8, 1), (4, 2), (2, 4), (1, 8)]
    return tuple(_stack(*shape, preset) for shape in shapes)


# Beside the paper: stacks of 1 to 8 layers, and all ways to reach a depth of 8 by loops.
WORTH = LanguageTable(
    "What is a loop worth?",
    {"60m": _stacks(8), "mini": _stacks(4)},
    ("perplexity", "worth"),
    ("parameters", "matmul_flops", "step_seconds"),
    relative={"worth": Worth()},
    sweep=True,
    note="Worth: the exponent phi by which r loops over n layers have the loss of r^phi n layers, "
    "each applied once; 1 would make loops as good as layers, 0 worth nothing. A dash: outside of "
    "the depths trained.",
)

LANGUAGE_TABLES = {
    "table1": TABLE_1,
    "table3": TABLE_3,
    "table4": TABLE_4,
    "table5": TABLE_5,
    "table6": TABLE_6,
    "contraction": CONTRACTION,
    "worth": WORTH,
}
# Of figures 5 to 7, what is trained at each size; of figure 6 whose states are followed, and whose
# evaluations.
_ALWAYS = {"max_evaluations": 64, "min_evaluations": 64}  # a budget T is then spent whole
_DEEP = {
    "attractor, one-step": changed("deep", solver=_ALWAYS),
    "attractor, unrolled": changed("deep", solver=_ALWAYS, gradient={"kind": "unrolled"}),
    "parcae, every loop with gradient": changed("deep", "parcae", gradient_steps=64),
    "parcae, last 4 loops with gradient": PARCAE,
}
FIGURE_5 = dict.fromkeys(("140m", "370m", "770m", "mini"), _DEEP)
FIGURE_6 = {
    "60m": ((ATTRACTOR,), (ATTRACTOR, DEQ)),
    "mini": ((ATTRACTOR, FROZEN, PARCAE), (ATTRACTOR, FROZEN, DEQ)),
}
FIGURE_7 = dict.fromkeys(("140m", "370m", "770m"), (ATTRACTOR, PARCAE)) | {
    "mini": (ATTRACTOR, PARCAE, FROZEN)
}
