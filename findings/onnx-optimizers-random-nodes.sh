#!/usr/bin/env bash
# ONNX optimizers: two independent random draws become one, and a draw becomes a constant.
#
# Guess: an optimizer of ONNX graphs merges nodes that compute the same; nodes that draw at random are left alone,
# so that the difference of two draws has the same spread before and after.
# Seen with onnx 1.23.2, onnxoptimizer 0.4.2, onnxsim 0.8.1, onnxslim 0.1.98, onnxscript 0.7.2, onnxruntime 1.32.0
# (with the defaults; the models pass onnx's full check):
# - onnxoptimizer and onnxsim merge two draws of RandomNormal, RandomNormalLike, Bernoulli, Multinomial and of
#   Dropout in training mode: their difference, else about as large as a draw, is exactly 0 in every run.
# - onnxslim merges RandomNormalLike, Bernoulli and Multinomial, drops Dropout though it is in training mode, and
#   draws RandomNormal itself: the numbers are written down as a constant, the same in every run from then on.
# - onnxscript's optimizer merges Bernoulli and Dropout, the others not. torch.onnx.export applies it unasked: with
#   torch 2.13.0 (not installed here) torch.bernoulli(p) - torch.bernoulli(p) is exported with one Bernoulli.
# - onnxruntime itself, without any of these, merges two Bernoulli; with optimizations disabled it does not.
# No warning is raised. Without optimizing the draws differ, and change from run to run.
# Matters for exported models with noise: samplers, random starts of an iteration, dropout kept on for estimates.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnx==1.23.2 onnxoptimizer==0.4.2 onnxsim==0.8.1 onnxslim==0.1.98 \
    onnxscript==0.7.2 onnx-ir==1.1.0 onnxruntime==1.32.0 numpy==2.2.6
"$folder/venv/bin/python" -W ignore - <<'PY'
import sys
from importlib.metadata import version

import numpy as np
import onnx
import onnxoptimizer
import onnxruntime
import onnxscript.optimizer
import onnxsim
import onnxslim
from onnx import TensorProto, helper, numpy_helper

names = ("onnx", "onnxoptimizer", "onnxsim", "onnxslim", "onnxscript", "onnxruntime")
print(*(f"{name} {version(name)}" for name in names))

options = {
    "RandomNormal": {"shape": [4, 50]}, "RandomNormalLike": {}, "Bernoulli": {}, "Dropout": {},
    "Multinomial": {"sample_size": 50}}


def model(op):
    """y = x * (first draw - second draw), x being of ones"""
    inputs = {"RandomNormal": [], "Dropout": ["p", "half", "yes"]}.get(op, ["p"])
    nodes = [helper.make_node(op, inputs, [name], **options[op]) for name in ("a", "b")]
    nodes += [helper.make_node("Cast", [name], [name + "f"], to=TensorProto.FLOAT) for name in ("a", "b")]
    nodes += [helper.make_node("Sub", ["af", "bf"], ["d"]), helper.make_node("Mul", ["x", "d"], ["y"])]
    graph = helper.make_graph(
        nodes, "draws",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 50]) for name in ("x", "p")],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 50])],
        [numpy_helper.from_array(np.array(0.5, np.float32), "half"), numpy_helper.from_array(np.array(True), "yes")])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(made, full_check=True)
    return made


def run(made, optimized=True):
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    if not optimized:
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(made.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    feed = {"x": np.ones((4, 50), np.float32), "p": np.full((4, 50), 0.5, np.float32)}
    wanted = {given.name for given in session.get_inputs()}
    results = [session.run(None, {key: feed[key] for key in wanted})[0] for _ in range(3)]
    if not any(result.any() for result in results):
        return "0"
    return "frozen" if all((result == results[0]).all() for result in results) else "differ"


ways = {
    "as built": lambda made: run(made, optimized=False),
    "onnxruntime": run,
    "onnxoptimizer": lambda made: run(onnxoptimizer.optimize(made), optimized=False),
    "onnxsim": lambda made: run(onnxsim.simplify(made)[0], optimized=False),
    "onnxslim": lambda made: run(onnxslim.slim(made), optimized=False),
    "onnxscript": lambda made: run(onnxscript.optimizer.optimize(made), optimized=False)}

print("difference of two draws: 0 (they are one), frozen (the same in three runs), or they differ")
found = {}
for way, function in ways.items():
    found[way] = {op: function(model(op)) for op in options}
    print(f"{way}:", ", ".join(f"{op} {result}" for op, result in found[way].items()))

merged = [[op for op, result in found[way].items() if result == "0"] for way in ways]
there = set(found["as built"].values()) == {"differ"}
there &= merged[1:] == [["Bernoulli"], list(options), list(options), list(options)[1:], ["Bernoulli", "Dropout"]]
there &= found["onnxslim"]["RandomNormal"] == "frozen"
sys.exit(0 if there else 1)
PY
