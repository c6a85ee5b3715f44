"""`loopbench bench`: what its figures count, against arithmetic and the models themselves."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from puzzles.metrics import is_valid
from reasoning.nn.grid import Net
from reasoning.training.meter import Meter
from scripts.cli import main
from scripts.models.presets import preset, preset_names
from scripts.timing import bench, measures
from scripts.timing.clocks import Clock, Yardstick
from scripts.timing.growth import exponents
from scripts.timing.measures import against_published, full_depth, sudokus, trainer_of, trm_d128

CPU = torch.device("cpu")
SHORT = Clock(CPU, seconds=0.0, least=1, warmup=1)


@pytest.mark.parametrize("size", [4, 6, 9])
def test_synthetic_sudokus_are_solved_grids_with_cells_blanked(size):
    made = sudokus(size, 20)
    assert is_valid("sudoku", made.inputs, made.labels).all()
    given = made.inputs != 1
    assert (made.inputs[given] == made.labels[given]).all()
    assert 0 < given.mean() < 0.6
    assert len(np.unique(made.labels, axis=0)) > 10


def test_rivals_are_timed_by_turns_and_the_first_call_apart():
    order = []

    def rival(name):
        order.append(name)
        time.sleep(6e-3)  # longer than the least turn, so once in each

    clock = Clock(CPU, seconds=0.0, least=3, warmup=1)
    found = clock.compare({"a": lambda: rival("a"), "b": lambda: rival("b")})
    assert "".join(order) == "ab" * 5  # first, warm-up, three rounds
    assert found["a"].rounds == 3
    assert found["a"].median >= 6e-3


def test_speed_against_published_figures_is_scaled_by_the_matrix_rate():
    half = {"fp32": 100e9}  # the published rate halved
    row = against_published({"seconds_per_step": 1.0, "matmul_flops_per_second": half})
    assert row["seconds_at_200_gflops"] == pytest.approx(0.5)
    assert row["times_faster_than"] == pytest.approx({"as shipped": 6.66, "fp32 eager": 2.62})


def test_the_published_step_is_trm_at_width_128():
    model = trm_d128().model
    assert (model.width, model.layers, model.cycles, model.inner_steps) == (128, 2, 3, 6)
    assert trm_d128().batch == 32


def test_training_rows_count_the_flops_of_a_step(tmp_path):
    config = full_depth(preset("trm-mini"), batch=4)
    precisions = ("fp32", "bf16")
    yardstick = Yardstick(dict.fromkeys(precisions, 64))
    rows = list(measures.training("x", config, SHORT, yardstick, precisions, ("eager",)))
    assert [row["precision"] for row in rows] == ["fp32", "bf16"]
    with Meter() as meter:
        trainer_of(config, sudokus(9, 4), CPU).advance()
    for row in rows:
        assert row["flops_per_step"] == meter.flops
        spent = row["flops_per_step"] / row["seconds_per_step"]
        rate = row["matmul_flops_per_second"][row["precision"]]
        assert row["of_matmul_rate"] == pytest.approx(spent / rate)
        assert row["segments_per_second"] == pytest.approx(4 / row["seconds_per_step"])
        assert row["puzzles_per_second"] == pytest.approx(row["segments_per_second"] / 16)


def test_kept_memory_is_flat_in_evaluations_unless_unrolled_and_grows_with_depth():
    rows = list(measures.memory(CPU, 1, (1, 2, 4), (1, 2)))
    kept = {(r["gradient"], r["evaluations"], r["layers"]): r["saved_bytes"] for r in rows}
    for kind in ("phantom", "one-step"):
        assert kept[kind, 1, 2] == kept[kind, 4, 2]
    assert kept["unrolled", 4, 2] > 1.8 * kept["unrolled", 2, 2]
    assert 1.5 < kept["phantom", 4, 2] / kept["phantom", 4, 1] < 2.1


def test_a_solve_costs_as_many_evaluations_as_its_map_alone(monkeypatch):
    calls = {"anderson": 0, "picard": 0, "map": 0}
    timed = Clock.compare

    def counting(clock, rivals):
        net = Net.forward
        for name, work in rivals.items():

            def forward(self, *given, name=name):
                calls[name] += 1
                return net(self, *given)

            with monkeypatch.context() as patch:
                patch.setattr(Net, "forward", forward)
                work()
        return timed(clock, rivals)

    monkeypatch.setattr(Clock, "compare", counting)
    rows = list(measures.solver_cost(SHORT, 1, 3, compiled=False))
    assert calls == dict.fromkeys(calls, 3 * 3)  # evaluations x (n + 1) calls of the net
    assert [row["solver"] for row in rows] == ["anderson", "picard"]


def test_starts_that_leave_save_calls():
    puzzles = sudokus(9, 12)
    run = measures.fresh_run("trm-mini", preset("trm-mini"), puzzles, CPU)
    row = measures.evaluation(run, puzzles, SHORT, 6, None)
    assert 0.1 < row["calls_left"] < 1
    never = measures.evaluation(run, puzzles, SHORT, 2, 1e-9)
    assert never["calls_left"] == 1


def test_the_command_prints_tables_and_writes_json_and_a_picture(tmp_path, monkeypatch, capsys):
    axes = {"batch": (1, 4), "grid": (4, 9), "layers": (1, 4), "evaluations": (1, 8)}
    axes |= {"segments": (1, 3), "tokens": (16, 64)}
    small = replace(bench.QUICK, axes=axes, scaled_batch=1)
    monkeypatch.setattr(bench, "QUICK", small)
    file = tmp_path / "speed.json"
    words = "bench --quick --device cpu --seconds 0.001 --presets trm-mini attractor-mini --batch 2"
    words += " --modes eager --precisions fp32 --lm-presets transformer-mini --rows 1"
    words += " --parts training language scaling"
    assert main([*words.split(), "--json", str(file)]) == 0
    said = capsys.readouterr().out
    for part in ("GFLOP/s", "training steps", "pretraining steps", "axis"):
        assert part in said
    record = json.loads(file.read_text())
    [language] = record["language"]
    assert language["matmul_flops_per_second"]["fp32"] > 0
    assert language["tokens_per_step"] == 128
    assert {row["batch"] for row in record["training"]} == {2}
    grown = {(row["preset"], row["axis"], row["value"]): row for row in record["scaling"]}
    for preset_name in ("trm-mini", "attractor-mini"):
        rows = {k[1:]: r for k, r in grown.items() if k[0] == preset_name and "saved_bytes" in r}
        flops = {k: row["flops_per_step"] for k, row in rows.items()}
        kept = {k: row["saved_bytes"] for k, row in rows.items()}
        assert flops["batch", 4] == 4 * flops["batch", 1]
        assert flops["layers", 4] > 3 * flops["layers", 1]
        assert kept["batch", 4] > 3 * kept["batch", 1]
        assert kept["grid", 9] > 3 * kept["grid", 4]
    for row in grown.values():
        if row["axis"] == "tokens":
            continue
        evaluated = row["batch"] / row["seconds_per_evaluated_segment"]
        assert row["evaluated_per_second"] == pytest.approx(evaluated)
    # A solver's evaluations cost time, and memory none; TRM has no solver.
    one, eight = (grown["attractor-mini", "evaluations", n] for n in (1, 8))
    assert eight["flops_per_step"] > 1.3 * one["flops_per_step"]
    assert eight["saved_bytes"] < 1.05 * one["saved_bytes"]
    assert ("trm-mini", "evaluations", 8) not in grown
    # Of language models, attention makes tokens cost more than each its own.
    one, four = (grown["transformer-mini", "tokens", n] for n in (16, 64))
    assert 4 < four["flops_per_step"] / one["flops_per_step"] < 16
    found = {(row["preset"], row["axis"]): row for row in record["exponents"]}
    assert found["trm-mini", "batch"]["flops"] == pytest.approx(1)
    assert found["trm-mini", "cells"]["from"] == 16
    for name in ("trm-mini", "attractor-mini"):
        assert found[name, "segments"]["evaluation_flops"] == pytest.approx(1, abs=0.01)
        assert "step" not in found[name, "segments"]
    assert (tmp_path / "speed-scaling.png").read_bytes()[:4] == b"\x89PNG"


def test_exponents_are_those_of_the_sizes_and_what_grows_faster_than_its_flops_is_marked():
    def record(axis, value, seconds, flops):
        row = {"preset": "x", "axis": axis, "value": value, "segments": 1}
        row |= {"seconds_per_step": seconds, "flops_per_step": flops}
        return row | {"seconds_per_evaluated_segment": 2.0, "flops_per_evaluated_segment": 3.0}

    rows = [record("batch", n, 5 * n**1.1, 7 * n) for n in (8, 2, 32)]
    rows += [record("grid", n, n**4.0, n**2.0) for n in (4, 9, 30)]
    rows += [record("width", n, s, n) for n, s in ((1, 4.0), (4, 4.0), (8, 8.8))]
    rows += [record("layers", 2, 1.0, 1.0)]
    segments = {"preset": "y", "axis": "segments", "flops_per_evaluated_segment": 1.0}
    rows += [
        segments | {"value": n, "segments": n, "seconds_per_evaluated_segment": 1 / n}
        for n in (1, 4)
    ]
    batch, cells, width, many = exponents(rows)
    assert (batch["from"], batch["to"], batch["theory"]) == (2, 32, 1)
    assert (batch["step"], batch["flops"]) == (pytest.approx(1.1), pytest.approx(1))
    assert (batch["evaluation"], batch["above"]) == (pytest.approx(0), False)
    assert (cells["axis"], cells["from"], cells["to"]) == ("cells", 16, 900)
    assert (cells["step"], cells["flops"]) == (pytest.approx(2), pytest.approx(1))
    assert cells["above"]
    # Over all sizes slower than its FLOPs, at the end faster by 0.14: log2(2.2) = 1.14.
    assert width["step"] < 0.5
    assert (width["end"], width["above"]) == (pytest.approx(np.log2(2.2)), False)
    assert (many["evaluation"], many["evaluation_flops"]) == (pytest.approx(0), pytest.approx(1))
    straight = np.polyfit(np.log([1, 4, 8]), np.log([4.0, 4.0, 8.8]), 1)[0]
    assert width["step"] == pytest.approx(straight)


@pytest.mark.parametrize(
    ("quick", "scales"), [(["--quick"], ("-cpu",)), ([], ("-7m", "-27m"))], ids=["quick", "full"]
)
def test_every_preset_of_the_scale_is_trained(quick, scales, monkeypatch):
    found = {}

    def note(name, config, clock, yardstick, precisions, modes):
        found[name] = config
        assert set(precisions) == {"fp32", "bf16"}
        assert set(modes) == {"eager", "compiled"}
        return []

    monkeypatch.setattr(measures, "training", note)
    assert main(["bench", *quick, "--device", "cpu", "--parts", "training"]) == 0
    assert set(found) == {name for name in preset_names() if name.endswith(scales)}
    for name, config in found.items():
        batch = 8 if quick else 384 if name.startswith("hrm") else 768
        assert config.batch == batch
        assert config.micro_batch == (192 if name.endswith("-27m") else None)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--presets", "trm-huge"], "trm-huge"),
        (["--lm-presets", "gpt-9"], "gpt-9"),
        (["--json", "/nowhere/at/all.json"], "/nowhere/at"),
        (["--batch", "0"], "--batch"),
        (["--runs", "/nowhere"], "/nowhere"),
    ],
)
def test_refusals_come_before_any_time_is_spent(words, part, capsys):
    assert main(["bench", "--quick", *words]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert part in said
