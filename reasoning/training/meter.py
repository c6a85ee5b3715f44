"""What a piece of training or inference really executed: FLOPs, and bytes kept for the backward.

FLOPs are those of matrix products and attention, forward and backward, counted as the operators
run (torch.utils.flop_counter): solver evaluations, products with J^T and early exits are in the
count because they happened, not because a formula assumes them. A multiply-add is two FLOPs.
"""

import contextlib

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count


def _attention(query, key, value, *rest, out_shape=None, **settings) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(gradient, query, key, value, *rest, out_shape=None, **settings) -> int:
    return sdpa_backward_flop_count(gradient, query, key, value)


# torch registers the GPU kernels' operators only.
_ON_CPU = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


class Meter(contextlib.AbstractContextManager):
    """Counts what runs inside a `with` block; `flops` and `saved_bytes` hold the totals after it.

    saved_bytes: storage that autograd kept for the backward pass, each address once, so that of
    several graphs freed one after the other about the largest counts. Parameters are in it.
    compiled: modules inside are compiled; they run eagerly, for fused kernels hide their operators.
    """

    def __init__(self, compiled: bool = False):
        self._compiled = compiled
        self.flops, self.saved_bytes = 0, 0
        self._storages: dict[int, int] = {}
        self._stack: contextlib.ExitStack | None = None
        self._counter: FlopCounterMode | None = None

    def __enter__(self) -> "Meter":
        with contextlib.ExitStack() as stack:
            if self._compiled:
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            saved = torch.autograd.graph.saved_tensors_hooks(self._note, lambda tensor: tensor)
            stack.enter_context(saved)
            counter = FlopCounterMode(display=False, custom_mapping=_ON_CPU)
            self._counter = stack.enter_context(counter)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()
        self.flops = self._counter.get_total_flops()
        self.saved_bytes = sum(self._storages.values())

    def _note(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        self._storages[storage.data_ptr()] = storage.nbytes()
        return tensor
