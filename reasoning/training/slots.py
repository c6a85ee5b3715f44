"""The slots of a batch: cut into micro-batches, joined again, and what a step made of them."""

from typing import Any

import torch
from torch import Tensor

from reasoning.losses import IGNORED_LABEL
from reasoning.supervision import Batch, Carry, Supervised


def rows_of(value: Any, piece: slice) -> Any:
    """Rows of a Carry or Batch."""
    if isinstance(value, Carry):
        return Carry(
            tuple(part[piece] for part in value.state),
            value.segments[piece],
            value.halted[piece],
            rows_of(value.puzzle, piece),
        )
    return Batch(value.inputs[piece], value.labels[piece], value.puzzle_ids[piece])


def join(carries: list[Carry]) -> Carry:
    """The carry of all slots, from those of micro-batches in order."""
    if len(carries) == 1:
        return carries[0]
    puzzles = [carry.puzzle for carry in carries]
    return Carry(
        tuple(torch.cat(parts) for parts in zip(*(c.state for c in carries), strict=True)),
        torch.cat([c.segments for c in carries]),
        torch.cat([c.halted for c in carries]),
        Batch(
            torch.cat([p.inputs for p in puzzles]),
            torch.cat([p.labels for p in puzzles]),
            torch.cat([p.puzzle_ids for p in puzzles]),
        ),
    )


@torch.no_grad()
def measure(supervised: Supervised) -> dict[str, Tensor]:
    """Sums over slots; `finished_*` over those that halted on this step."""
    output, losses, carry = supervised.output, supervised.losses, supervised.carry
    done = carry.halted
    labels = carry.puzzle.labels
    scored = labels != IGNORED_LABEL
    cells = ((output.logits.argmax(-1) == labels) & scored).sum(-1) / scored.sum(-1)
    sums = {
        "slots": torch.ones_like(losses.total).sum(),
        "finished": done.float().sum(),
        "loss": losses.total.detach().sum(),
        "cell_loss": losses.cells.detach().sum(),
        "halting_loss": losses.halting.detach().sum(),
        "cell": cells.sum(),
        "finished_cell": (cells * done).sum(),
        "finished_exact": (losses.exact & done).float().sum(),
        "finished_segments": (carry.segments * done).float().sum(),
        "net_calls": supervised.net_calls.float().sum(),
    }
    if losses.jacobian is not None:
        sums["jacobian_energy"] = losses.jacobian.detach().sum()
    if losses.own is not None:
        sums["own_loss"] = losses.own.detach().sum()
    return sums | {name: value.float().sum() for name, value in output.diagnostics.items()}
