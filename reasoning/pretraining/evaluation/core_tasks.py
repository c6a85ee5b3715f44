"""The tasks of a CORE bundle (DCLM, Li et al. 2024): what a model is asked, as texts.

    core.yaml            the CORE tasks: file, few-shot count, type, delimiter
    eval_meta_data.csv   random baselines (percent), and types and few-shot counts of other tasks
    eval_data/           <category>/<file>.jsonl, one item a line

A prompt is each few-shot example, `context + delimiter + right continuation` and a blank line, and
then the item's own context, delimiter and continuation. An item is a set of options to compare:

    multiple_choice      one context, a continuation per choice
    schema               a context per choice, one continuation
    language_modeling    one context (trimmed), one continuation: nothing to compare
"""

import csv
import difflib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from reasoning.errors import InputError
from reasoning.records import sha256_of

Kind = Literal["multiple_choice", "schema", "language_modeling"]

_ORDER_SEED = 1337  # the published order of a task's items
_NOT_SCORED = "generates its answer: not scored by likelihood"


class BundleError(InputError):
    """A bundle cannot be used; one line with the file, the place and the remedy."""


@dataclass(frozen=True)
class Task:
    """One task. shots: examples before each item; baseline: accuracy of guessing, 0 to 1."""

    name: str
    kind: Kind
    file: Path
    shots: int
    delimiter: str
    baseline: float
    in_core: bool


@dataclass(frozen=True)
class Item:
    """options: (context, continuation) per choice, of which `gold` is right."""

    options: tuple[tuple[str, str], ...]
    gold: int


@dataclass(frozen=True)
class Bundle:
    """tasks: those to score; missing: the other tasks asked for, each with the reason;
    core: the names of all CORE tasks; hashes: sha256 of the files that describe the tasks."""

    tasks: tuple[Task, ...]
    missing: dict[str, str]
    core: tuple[str, ...]
    hashes: dict[str, str]


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:  # JSON and YAML can escape half of a surrogate pair
        raise InputError(f"character {error.start} is a lone surrogate") from error
    return text


def _not_blank(text: str) -> str:
    if not text.strip():
        raise InputError("holds nothing to score")
    return text


Words = Annotated[str, AfterValidator(_encodable)]
Text = Annotated[Words, AfterValidator(_not_blank)]


class _Record(BaseModel):
    model_config = ConfigDict(strict=True)  # other keys, such as a category, do not matter


class _MultipleChoice(_Record):
    query: Words
    choices: Annotated[list[Text], Field(min_length=2)]
    gold: int

    def options(self) -> list[tuple[str, str]]:
        return [(self.query, choice) for choice in self.choices]


class _Schema(_Record):
    context_options: Annotated[list[Words], Field(min_length=2)]
    continuation: Text
    gold: int

    def options(self) -> list[tuple[str, str]]:
        return [(context, self.continuation) for context in self.context_options]


class _LanguageModeling(_Record):
    context: Words
    continuation: Text
    gold: Literal[0] = 0

    def options(self) -> list[tuple[str, str]]:
        return [(self.context.strip(), self.continuation)]


_RECORDS: dict[Kind, type[_MultipleChoice] | type[_Schema] | type[_LanguageModeling]] = {
    "multiple_choice": _MultipleChoice,
    "schema": _Schema,
    "language_modeling": _LanguageModeling,
}


class _Entry(BaseModel):
    """A task in core.yaml. A key that is not here would change the prompts: refused."""

    model_config = ConfigDict(extra="forbid")
    label: Words
    dataset_uri: Words
    num_fewshot: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=1)]
    icl_task_type: Kind
    continuation_delimiter: Words = " "
    has_categories: bool = False


class _Core(BaseModel):
    icl_tasks: Annotated[list[_Entry], Field(min_length=1)]


def read_bundle(folder: Path, names: Sequence[str] = (), extended: bool = False) -> Bundle:
    """The tasks to score: those named, else CORE's, and with `extended` every one of the csv.

    A task of CORE or named must have its file; what CORE-Extended lacks is listed as missing. (The
    published aggregate counts 46 tasks without a list: the csv has 53, of which five generate their
    answer.) BundleError for a file that is missing or malformed, a task without a random baseline
    and an unknown name.
    """
    entries = _read_core(folder / "core.yaml")
    meta_path = folder / "eval_meta_data.csv"
    meta = _read_meta(meta_path)
    core = tuple(entry.label for entry in entries)
    tasks = {
        entry.label: Task(
            name=entry.label,
            kind=entry.icl_task_type,
            file=folder / "eval_data" / entry.dataset_uri,
            shots=entry.num_fewshot[0],
            delimiter=entry.continuation_delimiter,
            baseline=_baseline(meta, entry.label, meta_path),
            in_core=True,
        )
        for entry in entries
    }
    missing: dict[str, str] = {}
    for name in (name for name in meta if name not in tasks):
        kind = meta[name]["Task Type"].replace(" ", "_")
        if kind in _RECORDS:
            tasks[name] = _further_task(folder, meta, name, kind, meta_path)
        else:
            missing[name] = _NOT_SCORED
    wanted = list(dict.fromkeys(names)) or list(core)
    for name in wanted:
        if name not in tasks:
            raise BundleError(_unknown(name, list(tasks), missing))
        if not tasks[name].file.is_file():
            raise BundleError(f"{tasks[name].file}: missing, but task {name} needs it")
    if extended:
        absent = {name: task.file for name, task in tasks.items() if not task.file.is_file()}
        missing |= {name: f"no file {file.relative_to(folder)}" for name, file in absent.items()}
        wanted += [name for name in tasks if name not in absent and name not in wanted]
    return Bundle(
        tasks=tuple(tasks[name] for name in wanted),
        missing=missing if extended else {},
        core=core,
        hashes={path.name: sha256_of(path) for path in (folder / "core.yaml", meta_path)},
    )


def _unknown(name: str, known: list[str], unscored: dict[str, str]) -> str:
    if name in unscored:
        return f"task {name} {unscored[name]}"
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else "there are " + ", ".join(known)
    return f"no task is called {name!r}; {hint}"


def _read_core(path: Path) -> list[_Entry]:
    try:
        entries = _Core.model_validate(
            yaml.safe_load(path.read_text(encoding="utf-8-sig"))
        ).icl_tasks
    except FileNotFoundError as error:
        raise BundleError(f"{path}: missing; a bundle has core.yaml, eval_meta_data.csv and "
                          "eval_data/") from error  # fmt: skip
    except ValidationError as error:
        raise BundleError(f"{path}: {_first(error)}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BundleError(f"{path}: not readable ({error})") from error
    labels = [entry.label for entry in entries]
    for label in labels:
        if labels.count(label) > 1:
            raise BundleError(f"{path}: task {label} is listed twice")
    return entries


def _read_meta(path: Path) -> dict[str, dict[str, str]]:
    """The csv's rows by task."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            rows = list(reader)
    except FileNotFoundError as error:
        raise BundleError(f"{path}: missing; it holds the random baselines") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BundleError(f"{path}: not readable ({error})") from error
    for column in ("Eval Task", "Task Category", "Task Type", "#shots", "Random baseline"):
        if column not in (reader.fieldnames or ()):
            raise BundleError(f"{path}: has no column {column!r}")
    return {row["Eval Task"]: row for row in rows}


def _baseline(meta: dict[str, dict[str, str]], name: str, path: Path) -> float:
    """Accuracy of guessing, from percent."""
    if name not in meta or not (meta[name]["Random baseline"] or "").strip():
        raise BundleError(f"{path}: gives no random baseline for task {name}")
    text = meta[name]["Random baseline"]
    try:
        percent = float(text)
    except ValueError:
        percent = -1.0
    if not 0 <= percent < 100:
        raise BundleError(f"{path}: task {name}: random baseline {text!r} is no percentage")
    return 0.01 * percent


def _further_task(
    folder: Path, meta: dict[str, dict[str, str]], name: str, kind: Kind, path: Path
) -> Task:
    """A task outside CORE: the csv names no file and no delimiter, so its own name and a space."""
    row = meta[name]
    try:
        shots = int(row["#shots"])
    except (TypeError, ValueError) as error:
        raise BundleError(f"{path}: task {name}: #shots {row['#shots']!r} is no count") from error
    category = row["Task Category"].replace(" ", "_")
    return Task(
        name=name,
        kind=kind,
        file=folder / "eval_data" / category / f"{name}.jsonl",
        shots=shots,
        delimiter=" ",
        baseline=_baseline(meta, name, path),
        in_core=False,
    )


def read_items(task: Task) -> list[Item]:
    """A task's items in the published order.

    BundleError for a line that is not an item (file, line), an empty file and a few-shot count that
    the items cannot fill.
    """
    items = []
    try:
        with task.file.open("rb") as file:
            for number, line in enumerate(file, 1):
                items.append(_item(task, line, f"{task.file}:{number}"))
    except OSError as error:
        raise BundleError(f"{task.file}: not readable ({error})") from error
    if not items:
        raise BundleError(f"{task.file}: task {task.name} has no items")
    if task.shots > len(items) - 1:
        raise BundleError(
            f"{task.file}: task {task.name} asks for {task.shots} examples before each item, but "
            f"an item has only {len(items) - 1} others"
        )
    random.Random(_ORDER_SEED).shuffle(items)
    return items


def _item(task: Task, line: bytes, place: str) -> Item:
    try:
        record = _RECORDS[task.kind].model_validate(json.loads(line.decode("utf-8-sig")))
    except ValidationError as error:
        raise BundleError(f"{place}: not a {task.kind} item: {_first(error)}") from error
    except UnicodeDecodeError as error:
        raise BundleError(
            f"{place}: invalid UTF-8 at byte {error.start} of the line ({error.reason}); convert "
            "the file to UTF-8"
        ) from error
    except ValueError as error:
        raise BundleError(f"{place}: not JSON ({error})") from error
    options = tuple(record.options())
    if not 0 <= record.gold < len(options):
        raise BundleError(f"{place}: gold {record.gold} is none of the {len(options)} choices")
    return Item(options, record.gold)


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"]


def draw_examples(items: Sequence[Item], index: int, shots: int, seed: int) -> list[Item]:
    """The few-shot examples of item `index`: others, drawn by seed + index.

    items: all of the task's; shots: how many examples, fewer than items.
    """
    # Drawing from places counted without the item's own is drawing from the list of the others.
    places = random.Random(seed + index).sample(range(len(items) - 1), shots)
    return [items[place + (place >= index)] for place in places]


def prompts(task: Task, item: Item, examples: Sequence[Item]) -> list[str]:
    """The texts to encode for an item: one per option, and for language_modeling first the
    prompt without its continuation, stripped so that it ends on a whole word."""
    shown = [task.delimiter.join(example.options[example.gold]) for example in examples]
    before = "".join(f"{text}\n\n" for text in shown)
    texts = [before + task.delimiter.join(option) for option in item.options]
    if task.kind == "language_modeling":
        context, _ = item.options[0]
        texts.insert(0, (before + context + task.delimiter).strip())
    return texts
