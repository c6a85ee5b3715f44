"""How a run is followed while it trains: a live line on the terminal, plain lines where there is
none, Weights & Biases, TensorBoard."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from reasoning.training import loop
from scripts.runs.training_words import WandbMode
from scripts.terminal.console import Console
from scripts.terminal.progress import plain_lines
from scripts.usage import UsageError


class LiveProgress:
    """A live line with a run's newest numbers and the time left; plain lines every so often, and at
    its end, where the console is no terminal.

    newest: names and texts of the numbers that a report brings, if any.
    """

    def __init__(
        self, label: str, console: Console, newest: Callable[[loop.Progress], dict[str, str]]
    ):
        self._progress = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[numbers]}", markup=False),
            TimeRemainingColumn(),
            console=console,
        )
        self._newest, self._numbers, self._label = newest, {}, label
        self._task = None
        self._plain = None if console.is_terminal else plain_lines(console, every_end=True)

    def __enter__(self) -> "LiveProgress":
        return self

    def __exit__(self, *error: object) -> None:
        if self._task is not None:
            self._progress.stop()

    def __call__(self, progress: loop.Progress) -> None:
        self._numbers |= self._newest(progress)
        numbers = "  ".join(f"{name} {text}" for name, text in self._numbers.items())
        if self._plain is not None:
            self._plain(self._label, progress.step, progress.total, numbers)
            return
        if self._task is None:
            self._progress.start()  # with the first step: a refusal before it prints one line
            self._task = self._progress.add_task(self._label, total=progress.total, numbers="")
        self._progress.update(self._task, completed=progress.step, numbers=numbers)


def events_folder(run: Path) -> Path:
    """Where a run's TensorBoard events are."""
    return run / "tensorboard"


class Reporter:
    """Sends a run's records to Weights & Biases, to RUN/tensorboard, to both or nowhere.

    Under one name in both: train/... of the training's lines, among them what its solver did, and
    test/... of the held-out scores; numbers as such, and histograms (`records.log_histogram`).
    """

    def __init__(
        self, mode: WandbMode, run: Path, config: dict[str, Any], tensorboard: bool = False
    ):
        self._run = self._writer = None
        self._folder = events_folder(run) if tensorboard else None
        if mode != "off":
            import wandb

            try:
                self._run = wandb.init(
                    project="loopbench", name=run.name, dir=run.parent, mode=mode, config=config
                )
            except wandb.errors.Error as error:
                raise UsageError(
                    f"--wandb {mode}: {error}; `wandb login` stores a key, --wandb offline "
                    "needs none"
                ) from error

    def __call__(self, progress: loop.Progress) -> None:
        for name, record in (("train", progress.training), ("test", progress.evaluation)):
            values = {f"{name}/{key}": value for key, value in _flat(record or {})}
            if values and self._run is not None:
                self._log(values, progress.step)
            if values and self._folder is not None:
                self._write(values, progress.step)

    def _log(self, values: dict[str, Any], step: int) -> None:
        import wandb

        def sent(value: Any) -> Any:
            if not isinstance(value, dict):
                return value
            return wandb.Histogram(np_histogram=(value["counts"], value["edges"]))

        self._run.log({name: sent(value) for name, value in values.items()}, step=step)

    def _write(self, values: dict[str, Any], step: int) -> None:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            # What a killed run wrote from this step on, a resumed one writes again.
            self._writer = SummaryWriter(self._folder, purge_step=step)
        for name, value in values.items():
            if isinstance(value, dict):
                self._writer.add_histogram_raw(name, **_summary(value), global_step=step)
            else:
                self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def finish(self) -> None:
        if self._run is not None:
            self._run.finish()
        if self._writer is not None:
            self._writer.close()


def _summary(histogram: dict[str, Any]) -> dict[str, Any]:
    """What TensorBoard's writer asks of one; its sums are of the middles of the bins."""
    edges, counts = np.array(histogram["edges"]), np.array(histogram["counts"])
    middles = (edges[:-1] + edges[1:]) / 2
    return {
        "min": edges[0],
        "max": edges[-1],
        "num": int(counts.sum()),
        "sum": float(counts @ middles),
        "sum_squares": float(counts @ middles**2),
        "bucket_limits": edges[1:].tolist(),
        "bucket_counts": counts.tolist(),
    }


def _flat(record: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """A record's numbers and histograms by name; of a score, its mean. Its step is where they
    stand."""
    for name, value in record.items():
        if isinstance(value, dict):
            yield name, value.get("mean", value)
        elif value is not None and name != "step":
            yield name, value
