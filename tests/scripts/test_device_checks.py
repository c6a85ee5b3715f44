"""What is asked of a GPU, asked of the CPU: checks that can fail, rates, gaps, waits."""

import json
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from scripts.gpu import device_checks, device_processes, device_rates
from scripts.gpu.device_checks import Check, difference
from scripts.gpu.device_processes import attractor, resume_check
from scripts.gpu.device_rates import CARD, TOY, gaps
from scripts.models.presets import MODELS, preset
from scripts.timing import measures
from scripts.timing.clocks import Clock, Yardstick
from scripts.timing.measures import full_depth

CPU = torch.device("cpu")


def test_a_difference_is_found_and_fails():
    a, b = torch.randn(50), torch.randn(3, 3)
    assert difference([a, b], [a, b]) == 0
    assert difference([1.01 * a, 1.01 * b], [a, b]) == pytest.approx(0.01, rel=1e-4)
    assert not Check("", difference([1.01 * a], [a]), 1e-4).passed
    assert not Check("", float("nan"), 1.0).passed


def test_a_wrong_gradient_ends_the_checks_with_1(tmp_path, monkeypatch):
    honest = device_checks._implicit
    calls = []

    def wrong_first(*given):
        calls.append(given)
        numbers = honest(*given)
        return [1.001 * n for n in numbers] if len(calls) == 1 else numbers

    monkeypatch.setattr(device_checks, "_implicit", wrong_first)
    monkeypatch.setattr(device_checks, "model_checks", lambda *given, **more: iter(()))
    with pytest.raises(SystemExit) as left:
        device_checks.main(["--device", "cpu", "--toy", "--json", str(tmp_path / "c.json")])
    assert left.value.code == 1
    record = json.loads((tmp_path / "c.json").read_text())
    assert [check["passed"] for check in record["checks"]] == [False] + [True] * (
        len(record["checks"]) - 1
    )
    assert record["complete"]


def test_what_raises_fails_and_the_other_groups_go_on(tmp_path, monkeypatch):
    def broken(device):
        yield Check("first", 0.0, 0.0)
        raise RuntimeError("no kernel image\nis available")

    monkeypatch.setattr(device_checks, "gradient_checks", broken)
    monkeypatch.setattr(device_checks, "model_checks", lambda *given, **more: iter(()))
    with pytest.raises(SystemExit):
        device_checks.main(["--device", "cpu", "--toy", "--json", str(tmp_path / "c.json")])
    first, second, *others = json.loads((tmp_path / "c.json").read_text())["checks"]
    assert (first["passed"], second["passed"]) == (True, False)
    assert second["name"] == "gradients: RuntimeError: no kernel image is available"
    assert others
    assert all(row["passed"] for row in others)


def test_checks_end_on_time_and_keep_what_they_have(tmp_path):
    path = tmp_path / "c.json"
    assert device_checks.main(["--device", "cpu", "--json", str(path), "--seconds", "0"]) == 0
    record = json.loads(path.read_text())
    assert len(record["checks"]) == 1
    assert not record["complete"]


def test_every_model_is_checked_in_both_precisions():
    checks = list(device_checks.model_checks(CPU, full=False))
    assert all(check.passed for check in checks)
    names = {check.name for check in checks}
    models = [f"{model}-mini" for model in MODELS]
    models += ["parcae-mini (text)", "deq-tied-mini (text)", "transformer-mini (text)"]
    for model in models:
        for what in ("values, fp32", "gradients, bf16"):
            assert f"{model}: {what}" in names


def test_attention_that_ignores_its_mask_is_found(monkeypatch):
    checks = list(device_checks.attention_checks(CPU))
    assert all(check.passed for check in checks)
    assert {"attention, causal, fp32, math", "attention, bf16, as chosen"} <= {
        check.name for check in checks
    }
    honest = device_checks.scaled_dot_product_attention

    def unmasked(q, k, v, is_causal=False):
        return honest(q, k, v, is_causal=False if q.dtype == torch.float32 else is_causal)

    monkeypatch.setattr(device_checks, "scaled_dot_product_attention", unmasked)
    failed = {check.name for check in device_checks.attention_checks(CPU) if not check.passed}
    assert "attention, causal, fp32, as chosen" in failed
    assert all("causal, fp32" in name for name in failed)


def test_ddp_and_fsdp_of_one_process_have_the_bare_models_gradients(monkeypatch):
    checks = {check.name: check for check in device_processes.group_checks(CPU)}
    assert len(checks) == 3
    assert all(check.passed for check in checks.values())

    def doubled(model, device):
        for p in model.parameters():
            p.register_hook(lambda gradient: 2 * gradient)
        return model

    monkeypatch.setattr(device_processes, "_ddp", doubled)
    checks = {check.name: check for check in device_processes.group_checks(CPU)}
    assert checks["DDP of one process: gradients"].error == pytest.approx(1.0)


def test_a_resumed_training_has_the_same_bits_and_one_that_lost_its_moments_has_not(monkeypatch):
    check, found = resume_check(attractor(CPU))
    assert check.passed
    assert check.error == 0
    assert found["resumed"] == {"first_step": None, "largest": 0.0, "steps": 8}
    resume = device_processes.Trainer.resume

    def forgets(trainer):
        resume(trainer)
        for optimizer in trainer.optimizers._all:
            optimizer.state.clear()

    monkeypatch.setattr(device_processes.Trainer, "resume", forgets)
    check, found = resume_check(attractor(CPU))
    assert not check.passed
    assert found["resumed"]["first_step"] == 5


def test_kernels_that_do_not_repeat_themselves_excuse_what_begins_later(monkeypatch):
    same, other = [torch.zeros(2)] * 8, [torch.zeros(2)] * 3 + [torch.ones(2)] * 5
    late = [torch.zeros(2)] * 6 + [3 * torch.ones(2)] * 2

    class Still:
        def save(self):
            pass

        resume = save

    def outcome(repeat, resumed):
        states = [same, repeat, resumed[:4], resumed[4:]]
        monkeypatch.setattr(device_processes, "_states", lambda trainer, steps: states.pop(0))
        return resume_check(lambda run: Still())[0].passed

    assert outcome(same, same)
    assert outcome(other, late)
    assert not outcome(same, late)
    assert not outcome(late, other)
    assert not outcome(same, [*same[:-1], torch.full((2,), math.nan)])


# ------------------------------------------------------------------------------------------- rates


def test_rates_of_everything_at_toy_size(tmp_path):
    path = tmp_path / "r.json"
    assert device_rates.main(["--device", "cpu", "--toy", "--json", str(path)]) == 0
    record = json.loads(path.read_text())
    assert record["left_out"] == []
    assert [r["preset"] for r in record["training"]] == list(TOY.puzzles)
    assert all(r["of_matmul_rate"] > 0 for r in record["training"] + record["language"])
    saved = {r["saved_bytes"] for r in record["memory"]}
    assert len(saved) == 1  # whatever the solver's evaluations
    [profiled] = record["gaps"]
    assert 0 <= profiled["idle_share"] < 1
    assert len(profiled["longest"]) == 5
    assert profiled["busy_seconds"] > 0
    assert profiled["step_seconds"] > 0
    assert len(profiled["waits"]) == profiled["waits_in_a_segment"]


def test_a_yardstick_of_the_steps_own_precision_is_enough():
    sizes = replace(TOY, precision="bf16", puzzles=("trm-mini",))
    clock, yardstick = Clock(CPU, 0.01), Yardstick({"bf16": 64})
    config = device_rates.step_config(sizes, "trm-mini")
    [row] = measures.training("trm-mini", config, clock, yardstick, ("bf16",), ("eager",))
    assert set(row["matmul_flops_per_second"]) == {"bf16"}
    assert row["of_matmul_rate"] > 0


def test_what_has_no_time_is_left_out_and_said(tmp_path):
    path = tmp_path / "r.json"
    assert device_rates.main(["--device", "cpu", "--json", str(path), "--seconds", "0"]) == 0
    record = json.loads(path.read_text())
    named = {*CARD.puzzles, *CARD.large, *CARD.language, "matrix products", "gaps", "memory"}
    assert set(record["left_out"]) == named


def test_every_preset_of_the_card_takes_its_batch():
    for name in (*CARD.puzzles, *CARD.large):
        config = full_depth(preset(name), batch=CARD.batch, micro_batch=CARD.micro_batch[name])
        assert config.batch == 768
        assert config.batch % config.micro_batch == 0


def test_gaps_are_what_no_interval_covers():
    busy = [(10, 12), (0, 5), (3, 4), (4, 6), (11, 15), (15, 16), (20, 21)]
    assert gaps(busy) == [(6, 10), (16, 20)]
    assert gaps([]) == gaps([(1, 2)]) == []
    hosts = [("outer", (0, 30)), ("copy", (7, 9)), ("other", (16, 17))]
    assert device_rates.during(hosts, 6, 10) == "copy"
    assert device_rates.during(hosts[1:], 16, 20) == "Python"


def test_waits_for_a_number_are_counted():
    class Asks(nn.Module):
        def initial_state(self, batch):
            return torch.zeros(batch)

        def segment(self, state, *given):
            return [float(state.sum()) for _ in range(7)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device_rates, "build_model", lambda config, shape: Asks())
        waits = device_rates.segment_waits(TOY, CPU)
        assert len(waits) == 7
        assert all(name.endswith("aten::_local_scalar_dense") for name in waits)


def test_what_is_measured_compiled_is_compiled_beforehand():
    names = device_rates.compiled_models(CARD)
    assert set(names) == {*CARD.puzzles, *CARD.language}
    assert len(names) == len(set(names))
    for name in device_rates.compiled_models(TOY):
        assert device_rates._compile((name, "cpu", True)).startswith(f"{name}: eager beforehand")
    said = device_rates._compile(("no-such-7m", "cpu", True))
    assert said.startswith("no-such-7m: not compiled beforehand: UsageError: no preset is called")
