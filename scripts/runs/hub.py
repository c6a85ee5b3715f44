"""Runs on the Hugging Face hub: `loopbench push`, and `--pretrained hub:user/name`.

config.json         the run's configuration and grid, as in its own folder, without its paths
model.safetensors   its averaged weights, fp32
loopbench.json      step, sha256 of the weights, training puzzles, results, commit and versions
README.md           the model card, made of these
"""

import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save

from puzzles.dataset import read_record
from puzzles.errors import DataError
from reasoning.nn.reasoner import parameter_count
from reasoning.training.checkpoints import plain_tensors
from reasoning.training.distribution import World, join_world
from reasoning.training.logs import RunLog
from reasoning.training.runs import RunError, read_config, read_environment, write_json
from scripts.models.grids import recorded_shape
from scripts.models.labels import label
from scripts.models.presets import RunConfig, build_model
from scripts.reports.earlier import is_set_aside
from scripts.runs.data import read_data
from scripts.runs.hub_cards import render_card, told_options
from scripts.runs.hub_names import PREFIX, check_repository, told
from scripts.runs.session import TrainedRun, identity, open_run, subset
from scripts.terminal.console import Console
from scripts.usage import UsageError, describe

FILES = ("config.json", "model.safetensors", "loopbench.json")


def results_of(run: Path, step: int) -> list[dict[str, Any]]:
    """What was measured on held-out puzzles: every record of `loopbench evaluate`, or else the last
    of the training. Each: `of`, and of its scores {mean, stderr, n}.

    step: of the weights that are pushed; a record of others says so.
    """
    results = []
    for path in sorted(run.glob("evaluation-*.json")):
        if is_set_aside(path):
            continue
        record = _evaluation(path)
        if record["split"] == "test":
            data = path.stem.removeprefix("evaluation-")
            of = ", ".join([f"held-out puzzles of {data}", *_how(record, step)])
            results.append({"of": of, "scores": record["metrics"]})
    log = RunLog(run)
    tests = log.learned("test") if log.exists and not results else []
    for line in tests[-1:]:
        scores = {
            name: value
            for name, value in line.items()
            if isinstance(value, dict) and value.keys() >= {"mean", "stderr", "n"}
        }
        of = f"held-out puzzles, during the training, at step {line['step']}"
        results.append({"of": of, "scores": scores})
    return results


def _evaluation(path: Path) -> dict[str, Any]:
    """RunError for a file that `evaluate` did not write."""
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: not readable as JSON ({error}); delete it") from error
    if not isinstance(record, dict) or not record.keys() >= {"split", "metrics"}:
        raise RunError(f"{path}: is no evaluation; move it away")
    return record


def _how(record: dict[str, Any], step: int) -> list[str]:
    """What was spent on the scores of an evaluation, where a record says it."""
    search, parts = record.get("search", {}), []
    if "segments" in record:
        parts.append(f"{record['segments']} segments")
    if record.get("evaluations") is not None:
        parts.append(f"at most {record['evaluations']} solver evaluations each")
    if record.get("tolerance") is not None:
        parts.append(f"solved to {record['tolerance']:g}")
    if search.get("candidates", 1) > 1:
        by = "the first to claim, of {}" if search["rule"] == "restart" else "best of {} by {}"
        parts.append(by.format(search["candidates"], search["rule"]))
    if record.get("step", step) != step:
        parts.append(f"of the weights at step {record['step']}")
    return parts


def trained_on(run: Path, config: RunConfig) -> dict[str, Any]:
    """What is recorded of the puzzles that a run learned from.

    name: of their folder, None for weights that were imported, from `file`; started_from: `run` and
    `step` of the weights that it began with, if any. Where the folder still holds those puzzles,
    by their sha256 in the run's record: how many `puzzles` and `groups`, and what made them.
    """
    record = read_config(run)
    begun = record.get("started_from")
    if begun is not None:
        begun = {"run": Path(begun["run"]).name, "step": begun["step"]}
    told: dict[str, Any] = {"name": None, "file": None, "started_from": begun}
    if not config.data:
        return told | {"file": record.get("released", {}).get("file")}
    folder = Path(config.data)
    told["name"] = folder.name
    try:
        train, test = read_data(folder)
        origin = read_record(folder) or {}
    except (DataError, UsageError):  # it was moved or changed since
        return told
    if identity(train, subset(test, config.evaluate_puzzles)) != record.get("puzzles_sha256"):
        return told
    return told | {
        "puzzles": len(train),
        "groups": train.groups,
        "command": origin.get("command"),
        "seed": origin.get("seed"),
        "options": told_options(origin),
        "sources": origin.get("sources", {}),
    }


def write_folder(run: Path, name: str, out: Path) -> None:
    """What `push` uploads of a run, as files in a folder."""
    opened = open_run(run, World(0, 1, join_world("cpu").device))
    run_record = read_config(run)
    grid = run_record["grid"]
    for named in _import_paths(run_record):
        raise RunError(
            f"{run}: is of a kind of its own ({named}), which nobody could load from the hub: "
            "what a stranger pushed names no module to import; pass on its folder and that code"
        )
    config = opened.config.model_copy(update={"data": "", "compile": False})
    weights = {name: value.float() for name, value in plain_tensors(opened.model).items()}
    content = save(weights, metadata={"format": "pt"})
    environment = read_environment(run)
    record = {
        "step": opened.step,
        "sha256": hashlib.sha256(content).hexdigest(),
        "parameters": parameter_count(opened.model),
        "trained_on": trained_on(run, opened.config),
        "results": results_of(run, opened.step),
        "environment": {
            key: environment.get(key) for key in ("date", "commit", "python", "packages")
        },
    }
    write_json(out / "config.json", {"config": config.model_dump(mode="json"), "grid": grid})
    (out / "model.safetensors").write_bytes(content)
    write_json(out / "loopbench.json", record)
    (out / "README.md").write_text(card(name, config, opened, record))


def card(name: str, config: RunConfig, run: TrainedRun, record: dict[str, Any]) -> str:
    """The model card, of a repository's name and what is in it.

    name: USER/NAME; config: the run's, as it is pushed; run: read back; record: what loopbench.json
    holds.
    """
    return render_card(
        "hub_card.md.j2",
        name=name,
        recipe=label(config, run.kind, run.shape.cells),
        config=config,
        task=f"{run.kind} {run.size}x{run.size}",
        kind=run.kind,
        size=run.size,
        **record,
    )


def _import_paths(record: Any) -> Iterator[str]:
    """The kinds, of models, puzzles, solvers and gradients, that a record gives by import paths."""
    if isinstance(record, list):
        for value in record:
            yield from _import_paths(value)
    elif isinstance(record, dict):
        if ":" in str(record.get("kind", "")):
            yield str(record["kind"])
        for value in record.values():
            yield from _import_paths(value)


def load_hub(name: str, world: World) -> TrainedRun:
    """A run that was pushed, downloaded where the hub's cache has it not. RunError where it cannot
    be had, is not whole or is no run of loopbench's."""
    from huggingface_hub import snapshot_download

    check_repository(name)
    with told(name):
        folder = Path(snapshot_download(name, allow_patterns=list(FILES)))
    try:
        record = json.loads((folder / "loopbench.json").read_text())
        run_record = json.loads((folder / "config.json").read_text())
        grid = run_record["grid"]
        # What a stranger wrote does not choose a module to import here.
        for named in _import_paths(run_record):
            raise RunError(
                f"{PREFIX}{name}: is of a kind of its own ({named}), whose code is not "
                "imported at a stranger's word; ask for the run's own folder"
            )
        config = RunConfig.model_validate(run_record["config"])
        content = (folder / "model.safetensors").read_bytes()
        if hashlib.sha256(content).hexdigest() != record["sha256"]:
            raise RunError(f"{PREFIX}{name}: model.safetensors is not as it was pushed")
        shape = recorded_shape(grid)
        model = build_model(config, shape)
        model.load_state_dict(load(content))
    except RuntimeError as error:  # names or shapes that are not those of the configuration
        raise RunError(f"{PREFIX}{name}: its weights are not those of its config.json") from error
    except ValidationError as error:
        raise RunError(f"{PREFIX}{name}: config.json: {describe(error)}") from error
    except (OSError, KeyError, TypeError, json.JSONDecodeError, SafetensorError) as error:
        raise RunError(f"{PREFIX}{name}: is not a run that loopbench pushed ({error})") from error
    made_for = grid["kind"], grid["size"], shape
    model = model.to(world.device).eval()
    return TrainedRun(Path(f"{PREFIX}{name}"), config, *made_for, model, record["step"])


def push(run: Path, name: str, private: bool = False) -> None:
    """Upload a run, and say how to use it."""
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as place:
        write_folder(run, name, Path(place))
        with told(name):
            api = HfApi()
            api.create_repo(name, private=private, exist_ok=True)
            api.upload_folder(repo_id=name, folder_path=place, commit_message="A loopbench run")
    Console(highlight=False).print(
        f"pushed {run} to {name}; use it by: loopbench solve --pretrained {PREFIX}{name} PUZZLE",
        soft_wrap=True,
    )
