"""A model made ready for its device: its blocks compiled and sharded."""

from torch import nn

from reasoning.nn.compilation import compile_nets
from reasoning.pretraining.config import PretrainingConfig
from reasoning.training.distribution import World, is_placed
from reasoning.training.optimizers import clip_gradients


def is_sharded(config: PretrainingConfig, world: World) -> bool:
    """Whether weights are sharded; one process has nobody to share with."""
    return config.parallel == "sharded" and world.size > 1


def prepare(model: nn.Module, config: PretrainingConfig, world: World) -> None:
    """Compile, then shard, in place.

    Names of parameters stay. The blocks alone are compiled: solvers around them stay eager.
    """
    if config.compile:
        compile_nets(model.blocks())
    if is_sharded(config, world):
        # Here: they take a second to load.
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(world.device.type, (world.size,))
        repeated = {id(block) for block in model.repeated_blocks()}
        for block in model.blocks():
            if id(block) not in repeated:
                fully_shard(block, mesh=mesh)
        fully_shard(model, mesh=mesh)  # the rest, gathered once for a whole pass


def clip_sharded_gradients(model: nn.Module, limit: float | None) -> float:
    """Scale gradients to a norm of `limit` at most; returns the norm before, over all processes."""
    norm = clip_gradients(model, limit)
    return float(norm.full_tensor() if is_placed(norm) else norm)
