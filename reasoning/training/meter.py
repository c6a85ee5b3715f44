"""What a piece of training or inference really executed: FLOPs, and bytes kept for the backward.

FLOPs are those of matrix products and attention, forward and backward, counted as the operators
run, by the formulas of torch.utils.flop_counter: solver evaluations, products with J^T and early
exits are in the count because they happened, not because a model of them says so. A multiply-add
is two FLOPs. (Its FlopCounterMode also tracks modules, which fails on solvers that switch graphs on
and off.)
"""

import contextlib

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count


def _attention(query, key, value, *rest, out_val, **settings) -> int:
    return sdpa_flop_count(query.shape, key.shape, value.shape)


def _attention_backward(gradient, query, key, value, *rest, out_val, **settings) -> int:
    return sdpa_backward_flop_count(gradient.shape, query.shape, key.shape, value.shape)


def _matrix_vector(matrix, vector, *, out_val) -> int:
    return 2 * matrix.numel()


def _layer_of_lstm(x, of_input, of_state, *rest, out_val) -> int:
    """One layer and direction; the gates of a step are two products."""
    return 2 * x.shape[:-1].numel() * (of_input.numel() + of_state.numel())


def _recurrence(x, weights, *rest, out_val) -> int:
    """All layers and directions of an LSTM or GRU; weights hold the biases too."""
    return 2 * x.shape[:-1].numel() * sum(w.numel() for w in weights if w.dim() > 1)


def _twice(formula):
    """Of a backward pass: the gradients of the input and of the weight."""
    return lambda *args, **settings: 2 * formula(*args, **settings)


# What torch has no formula for: attention and recurrence on a CPU, recurrence on a GPU, vectors.
_aten = torch.ops.aten
_FORMULAS = {
    **flop_registry,
    _aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
    _aten.mv: _matrix_vector,
    _aten.dot: _matrix_vector,
    _aten.mkldnn_rnn_layer: _layer_of_lstm,
    _aten.mkldnn_rnn_layer_backward: _twice(_layer_of_lstm),
    _aten._cudnn_rnn: _recurrence,
    _aten._cudnn_rnn_backward: _twice(_recurrence),
}


class _Counter(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        formula = _FORMULAS.get(func._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=out)
        return out


class Meter(contextlib.AbstractContextManager):
    """Counts what runs inside a `with` block; `flops` and `saved_bytes` hold the totals after it.

    saved_bytes: storage that autograd kept for the backward pass, each address once, so that of
    several graphs freed one after the other about the largest counts. Parameters are in it.
    compiled: modules inside are compiled; they run eagerly, for fused kernels hide their operators.
    So do torch's own encoder layers in eval mode, whose fast path is one operator.
    """

    def __init__(self, compiled: bool = False):
        self.flops, self.saved_bytes = 0, 0
        self._compiled = compiled
        self._storages: dict[int, int] = {}
        self._stack = contextlib.ExitStack()
        self._counter = _Counter()

    def __enter__(self) -> "Meter":
        if self._compiled:
            self._stack.enter_context(torch.compiler.set_stance("force_eager"))
        self._stack.callback(
            torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled()
        )
        torch.backends.mha.set_fastpath_enabled(False)
        saved = torch.autograd.graph.saved_tensors_hooks(self._note, lambda tensor: tensor)
        self._stack.enter_context(saved)
        self._stack.enter_context(self._counter)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()
        self.flops = self._counter.flops
        self.saved_bytes = sum(self._storages.values())

    def _note(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        self._storages[storage.data_ptr()] = storage.nbytes()
        return tensor
