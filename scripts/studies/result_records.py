"""Recorded results made of the JSON that a command wrote and of the runs' folders beside it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.reports.records import Arm, Estimate, Record, RecordError, SeedRun, Spread
from scripts.studies.evaluations import (
    EVALUATION,
    PUZZLE_COSTS,
    estimate_of,
    read_evaluation,
    read_result,
    whole,
)
from scripts.studies.record_origins import Json, Origins


@dataclass(frozen=True)
class _Content:
    """A file's arms and what it says of itself; None and "" where the runs' folders say it."""

    arms: tuple[Arm, ...]
    study: str | None = None
    scale: str | None = None
    data: str = ""
    computed: bool = False


def make_record(path: Path, title: str | None = None, command: str | None = None) -> Record:
    """The record of what `compare`, `reproduce`, `evaluate` or `bench --json` wrote.

    title: none: the study and the data; command: as typed, where no run's folder tells it.
    RecordError if the file is none of these, or what made it is not known.
    """
    content = read_result(path)
    read = _reader(content)
    if read is None:
        raise RecordError(
            f"{path}: is no result of compare, reproduce (a table, fig4 or fig5), evaluate or bench"
        )
    origins = Origins()
    with whole(path):
        parts = read(content, path, origins)
    study, data = parts.study or origins.study, parts.data or origins.data(parts.arms)
    return Record(
        title=title or f"{study[0].upper()}{study[1:]}, {data or path.parent.name}",
        study=study,
        source="run",
        scale=origins.scale if parts.scale is None else parts.scale,
        computed=parts.computed,
        data=data,
        **dict(origins.origin(path, command)),
        notes=tuple(origins.notes),
        arms=parts.arms,
    )


# What the files hold


def _comparison(content: Json, path: Path, origins: Origins) -> _Content:
    return _Content(tuple(_group(name, "", g, path, origins) for name, g in content.items()))


def _table2(content: Json, path: Path, origins: Origins) -> _Content:
    arms = []
    for task, groups in content["ours"].items():
        for name, group in groups.items():
            paper = content["published"][name][task]
            published = {} if paper is None else {"exact": paper / 100}
            arm = _group(name, task, group, path, origins)
            arms.append(arm.model_copy(update={"published": published}))
    return _Content(tuple(arms), "reproduce table2", content["scale"])


_COST = {name: f"training_{name}" for name in ("net_calls", "flops", "seconds", "bytes")}


def _group(name: str, of: str, group: Json, path: Path, origins: Origins) -> Arm:
    """A group of a comparison as an arm; what its runs do not tell one by one is its summary.

    name: the arm's, of what. path: the report's file, from which the runs' folders are found.
    origins: gathers their commits, machines and dates.
    """
    runs, config = [], {}
    for run in group["runs"]:
        config = origins.look(run["run"], path) or config
        if "failure" in run:
            runs.append(SeedRun(seed=run["seed"], failure=run["failure"]))
            continue
        values = {k: estimate_of(v) for k, v in run.items() if isinstance(v, dict) and k != "cost"}
        values |= {_COST[k]: Estimate(mean=v) for k, v in run["cost"].items() if k in _COST}
        runs.append(SeedRun(seed=run["seed"], values=values))
    known = {column for run in runs for column in run.values}
    summary = {
        column: Spread(**group[key])
        for key, column in PUZZLE_COSTS.items()
        if column not in known and group.get(key) is not None
    }
    parameters = group.get("parameters")
    return Arm(
        name=name, of=of, parameters=parameters, config=config, runs=tuple(runs), summary=summary
    )


def _language_table(content: Json, path: Path, origins: Origins) -> _Content:
    sizes = {row["size"] for row in content["rows"]}
    arms = []
    for row in content["rows"]:
        runs, config = [], {}
        for run in row["runs"]:
            config = origins.look(run["run"], path) or config
            values = {k: Estimate(mean=v) for k, v in run.get("numbers", {}).items()}
            values |= {
                f"perplexity_at_{budget}": Estimate(mean=scores["perplexity"])
                for budget, scores in run.get("sweep", {}).items()
            }
            runs.append(SeedRun(seed=run["seed"], values=values, failure=run.get("failure")))
        of = row["size"] if len(sizes) > 1 else ""
        published = _in_our_units(row["published"])
        arm = {"name": row["name"], "of": of, "config": config, "published": published}
        arms.append(Arm(**arm, runs=tuple(runs)))
    corpus = content["corpus"]
    data = f"{', '.join(corpus['sources'])}, vocabulary {corpus['vocabulary']:,}"
    study = f"reproduce {path.stem}"
    return _Content(tuple(arms), study, content["scale"], data)


def _in_our_units(published: Json) -> dict[str, Any]:
    """The paper's percentages as fractions."""
    return {k: v / 100 if k == "converged" else v for k, v in published.items()}


def _counted(name: str, of: str, values: Mapping[str, float | None]) -> Arm:
    known = {k: Estimate(mean=v) for k, v in values.items() if v is not None}
    return Arm(name=name, of=of, runs=(SeedRun(seed=0, values=known),))


def _figure4(content: Json, path: Path, origins: Origins) -> _Content:
    origins.note(content)
    columns = ("published_rule_exaflops", "matmul_exaflops", "evaluations", "paper_exaflops")
    arms = [_counted(b["model"], b["size"], {c: b[c] for c in columns}) for b in content["bars"]]
    return _Content(tuple(arms), "reproduce fig4", "", "nothing is trained", True)


def _figure5(content: Json, path: Path, origins: Origins) -> _Content:
    origins.note(content)
    arms = []
    for name, series in content["series"].items():
        pairs = zip(content["depths"], series["bytes"], strict=True)
        arms.append(_counted(name, "", {f"bytes_at_{depth}": size for depth, size in pairs}))
    data = f"{content['size']}: bytes {content['measure']}"
    scale = "mini" if content["size"] == "mini" else "full"
    return _Content(tuple(arms), "reproduce fig5", scale, data, True)


def _evaluation(content: Json, path: Path, origins: Origins) -> _Content:
    scored = read_evaluation(content, path, origins)
    return _Content((scored.arm,), "evaluate", None, scored.data)


def _bench(content: Json, path: Path, origins: Origins) -> _Content:
    """Every figure of every part; an arm is a line of one of its tables."""
    origins.note(content)
    arms = []
    for part, lines in content.items():
        if isinstance(lines, list):
            numbers = [dict(_numbers(line)) for line in lines]
            names = _told_apart([_words_of(line) for line in lines], numbers)
            arms += [_counted(n, part, values) for n, values in zip(names, numbers, strict=True)]
    return _Content(tuple(arms), "bench", "", content["device"])


def _words_of(line: Json) -> str:
    return " ".join(str(v) for v in line.values() if isinstance(v, str))


def _told_apart(names: Sequence[str], numbers: Sequence[Mapping[str, float]]) -> list[str]:
    """Names, those that stand several times with the first number that tells all of them apart, or
    else with their place."""
    apart = []
    for i, (name, line) in enumerate(zip(names, numbers, strict=True)):
        alike = [other for n, other in zip(names, numbers, strict=True) if n == name]
        if len(alike) == 1 and name:
            apart.append(name)
            continue
        keys = (k for k in line if len({other.get(k) for other in alike}) == len(alike))
        key = next(keys, None)
        mark = names[:i].count(name) if key is None else f"{key} {line[key]}"
        apart.append(f"{name} {mark}".strip())
    return apart


def _numbers(line: Json, before: str = "") -> Iterator[tuple[str, float]]:
    for name, value in line.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{before}{name} ")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{before}{name}", value


Reader = Callable[[Json, Path, Origins], _Content]
# By what a file holds, for none names its kind: a comparison's names are its arms', and files
# written before must open.
_READERS: tuple[tuple[frozenset[str], Reader], ...] = (
    (frozenset({"title", "rows", "claims"}), _language_table),
    (frozenset({"bars", "ratios"}), _figure4),
    (frozenset({"series", "depths"}), _figure5),
    (frozenset({"published", "ours"}), _table2),
    (EVALUATION, _evaluation),
    (frozenset({"matmul_sizes", "environment"}), _bench),
)


def _reader(content: Any) -> Reader | None:
    """What reads a file of this content; None: nothing does."""
    if not isinstance(content, dict):
        return None
    for holds, read in _READERS:
        if holds <= content.keys():
            return read
    groups = content.values()
    compared = content and all(isinstance(g, dict) and "runs" in g for g in groups)
    return _comparison if compared else None
