"""What `evaluate` wrote, as an arm of a record, and what has to be alike in another seed's."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from scripts.models.labels import settings
from scripts.models.presets import RunConfig
from scripts.reports.records import Arm, Estimate, RecordError, SeedRun
from scripts.studies.beginnings import trained_before
from scripts.studies.record_origins import Json, Origins, Trained, recipe_of
from scripts.usage import describe

EVALUATION = frozenset({"selection", "metrics", "environment"})  # keys that only evaluations have
# What was asked of an evaluation, and the precision that this came to.
ASKED = ("segments", "evaluations", "tolerance", "precision", "activations", "search")
PUZZLE_COSTS = {  # what a record calls what a puzzle took
    "halted_exact": "halted_exact",
    "halted_net_calls_per_puzzle": "halted_net_calls",
    "net_calls_per_puzzle": "net_calls",
    "flops_per_puzzle": "flops_per_puzzle",
}
_SCORED_ON = ("preset", "parameters", "step", "data", "split", "puzzles", "puzzles_sha256")


@dataclass(frozen=True)
class Evaluation:
    """The arm of one seed, the puzzles it answered, and by name what other seeds have to share."""

    arm: Arm
    data: str
    alike: Mapping[str, Any]

    @property
    def run(self) -> SeedRun:
        """The only one of its arm."""
        return self.arm.runs[0]


def read_result(path: Path) -> Any:
    """The JSON of a file. RecordError if it is none."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise RecordError(f"{path}: not readable as JSON ({error})") from error


@contextmanager
def whole(path: Path) -> Iterator[None]:
    """RecordError for what a file lacks of what its command writes, while it is read."""
    try:
        yield
    except KeyError as error:
        raise RecordError(f"{path}: lacks {error}: damaged, or of another version") from error


def read_evaluation(content: Json, path: Path, origins: Origins) -> Evaluation:
    """An evaluation's numbers, those of its training where the run's folder tells them.

    content: of the file at this path; origins: gathers what made it. KeyError for what it lacks.
    """
    config: Json = {}
    costs: dict[str, Estimate] = {}
    alike = {key: content.get(key) for key in (*_SCORED_ON, *ASKED)}
    origins.note(content)
    if content.get("run"):
        trained = origins.evaluated(content, path)
        config = content.get("config") or (trained.record["config"] if trained else {})
        alike |= _learned(config, trained, path)
        costs = origins.training(trained.folder, content["step"]) if trained else {}
    arm = Arm(
        name=content["preset"],
        parameters=content["parameters"],
        config={"run": recipe_of(config)} | {key: content[key] for key in ASKED if key in content},
        runs=(SeedRun(seed=content["seed"], values=_values(content) | costs),),
    )
    return Evaluation(arm, f"{Path(content['data']).name}, {content['split']}", alike)


def _learned(config: Json, trained: Trained | None, path: Path) -> dict[str, Any]:
    """What makes a run, but for its seed: its settings, and by its folder what it began with."""
    if not config:
        return {}
    try:
        run = RunConfig.model_validate(config)
    except ValidationError as error:
        raise RecordError(f"{path}: config: {describe(error)}") from error
    learned = settings(run) | {"steps": run.steps, "training puzzles": run.data}
    if trained is not None:
        learned["training before"] = trained_before(trained.folder)
    return learned


def _values(content: Json) -> dict[str, Estimate]:
    """By column: metrics, of the halting too; costs of a puzzle; exact after segments, each
    doubled; what is said of difficulty, confidence, rest, candidates and a judge's search; how far
    from a fixed point the last segment ends."""
    halting = content["selection"]["halt-first"]
    values = {name: estimate_of(value) for name, value in content["metrics"].items()}
    values |= {f"halted_{name}": estimate_of(v) for name, v in halting["metrics"].items()}
    values["halted_net_calls"] = estimate_of(halting["net_calls_per_puzzle"])
    for key, column in PUZZLE_COSTS.items():
        if key in content:
            values[column] = Estimate(mean=content[key])
    for after in content["by_segment"]:
        segment = after["segment"]
        if segment & (segment - 1) == 0:
            values[f"exact_after_{segment}"] = Estimate(
                mean=after["exact"], stderr=after["exact_stderr"], n=after["n"]
            )
    for number, each in enumerate(content.get("by_difficulty", {}).get("bins", ()), start=1):
        values[f"exact_in_bin_{number}"] = estimate_of(each["metrics"]["exact"])
    if content["search"]["candidates"] > 1:
        for rule, chosen in content["selection"].items():
            values[f"exact_by_{rule}"] = estimate_of(chosen["metrics"]["exact"])
            values[f"net_calls_by_{rule}"] = estimate_of(chosen["net_calls_per_puzzle"])
    values |= _confidence(content) | _judged(content)
    if _told_rest(content):
        values |= _rest(content)
    last = {name: each[-1] for name, each in content.get("diagnostics", {}).items()}
    if last.get("residual") is not None:  # a model may tell none, and without a solve there is none
        known = [name for name in ("residual", "converged") if name in last]
        values |= {name: Estimate(mean=last[name]) for name in known}
    return values


def _told_rest(content: Json) -> bool:
    """Whether starts ran on until they were at rest: who leaves keeps the residual it left with."""
    leave = content["search"].get("leave")
    ran_on = leave is None or leave <= content.get("at_rest", {}).get("residual", 0)
    return ran_on and not content["search"].get("until_claimed")


def _confidence(content: Json) -> dict[str, Estimate]:
    """AUROC and the area under risk-coverage of either score that tells something; where all are
    right, no AUROC."""
    values = {}
    scores = {"halting score": "halting"} | (
        {"residual": "residual"} if _told_rest(content) else {}
    )
    for told, name in scores.items():
        if told in content.get("abstention", {}):
            score = content["abstention"][told]
            values[f"risk_area_{name}"] = estimate_of(score["risk_coverage"]["area"])
            if score["auroc"] is not None:
                values[f"auroc_{name}"] = estimate_of(score["auroc"])
    return values


def _rest(content: Json) -> dict[str, Estimate]:
    """By starts, of the answer of least residual: the share at rest, and the wrong share of it."""
    values = {}
    rest = content.get("at_rest", {"breadths": ()})
    for place, starts in enumerate(rest["breadths"]):
        rested = rest["by"]["residual"]["at_rest"]
        share, count = rested["share"][place], rested["n"][place]
        values[f"at_rest_{starts}"] = Estimate(mean=share, n=rest["puzzles"])
        if count:
            wrong, stderr = rested["wrong"][place], rested["stderr"][place]
            values[f"spurious_{starts}"] = Estimate(mean=wrong, stderr=stderr, n=count)
    return values


def _judged(content: Json) -> dict[str, Estimate]:
    """Of the search that a net judges, by the calls it may take: exact, and net calls; the same of
    its control, an untrained net."""
    values = {}
    judged = content.get("judged", {"budgets": ()})
    for place, calls in enumerate(judged["budgets"]):
        for net in ("trained", "untrained"):
            for kind in ("exact", "net_calls") if net in judged else ():
                told = {key: each[place] for key, each in judged[net][kind].items()}
                column = f"{net}_judge_{kind}_{calls}"
                values[column] = estimate_of(told | {"n": judged["n"]})
    return values


def estimate_of(value: Json) -> Estimate:
    """A number as files of results have it."""
    return Estimate(mean=value["mean"], stderr=value.get("stderr"), n=value.get("n"))
