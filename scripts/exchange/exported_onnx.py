"""Programs of a puzzle model as ONNX files, and how far they are from the model.

ONNX has no linear solve: Anderson's small systems are solved by elimination, written out.
"""

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor

from scripts.exchange.exported import Program, quietly

OPSET = 18


def _eliminate(matrix: Tensor, right: Tensor, **options: bool) -> tuple[Tensor, Tensor]:
    """x of matrix (B, m, m) x = right (B, m), and a zero: Gaussian elimination without pivoting,
    which is stable for the positive definite matrices that Anderson solves."""
    size = matrix.shape[-1]
    rows = [[*matrix[:, i].unbind(-1), right[:, i]] for i in range(size)]
    for k in range(size):
        for i in range(k + 1, size):
            factor = rows[i][k] / rows[k][k]
            rows[i] = [a - factor * b for a, b in zip(rows[i], rows[k], strict=True)]
    solved: list[Tensor] = []
    for k in reversed(range(size)):
        rest = rows[k][size]
        for j, known in zip(reversed(range(k + 1, size)), solved, strict=True):
            rest = rest - rows[k][j] * known
        solved.append(rest / rows[k][k])
    return torch.stack(solved[::-1], -1), torch.zeros_like(right[:, 0], dtype=torch.int32)


DECOMPOSITIONS = {torch.ops.aten.linalg_solve_ex.default: _eliminate}


def to_onnx(program: Program) -> onnx.ModelProto:
    """A program as an ONNX model whose first axes are called batch."""
    with quietly():
        exported = torch.onnx.export(
            program.traced,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(program.inputs),
            output_names=list(program.outputs),
            verbose=False,
        )
    model = exported.model_proto
    _forget_the_tracing(model.graph)
    for value in (*model.graph.input, *model.graph.output):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param:
                axis.dim_param = "batch"
    return model


def _forget_the_tracing(graph: onnx.GraphProto) -> None:
    """Drop where every node came from: the larger part of the file, and paths of this machine."""
    for node in graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _forget_the_tracing(attribute.g)


def session(model: onnx.ModelProto) -> Callable[[dict[str, np.ndarray]], list[np.ndarray]]:
    """What runs the model on the CPU, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    opened = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda feeds: opened.run(None, feeds)
