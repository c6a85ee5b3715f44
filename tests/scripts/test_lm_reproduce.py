"""Language tables and figures end to end at toy size, and their parts against other means."""

import fcntl
import json
import random
import re
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from reasoning.pretraining.flops import matmul_rule, measured_passes
from reasoning.pretraining.protocol import SolveBudget
from reasoning.solver_config import GradientConfig, SolverConfig
from reasoning.training.runs import TrainingError
from scripts.cli import main
from scripts.models.lm_models import LANGUAGE_PRESETS, build_language_model
from scripts.models.variants import changes_of
from scripts.reports.record_table import record_table
from scripts.studies import jobs
from scripts.studies.language import comparison as lm_comparison
from scripts.studies.language import report as language_report
from scripts.studies.language.probes import (
    distances_to_last,
    principal_components,
    step_cost,
    trajectory,
)
from scripts.studies.language.report import language_table
from scripts.studies.language.study import Study, build_text, text_of
from scripts.studies.language.tables import (
    ATTRACTOR,
    DEQ,
    LANGUAGE_TABLES,
    PLAIN,
    Entry,
    LanguageTable,
)
from scripts.studies.language.worth import exponent
from scripts.studies.result_records import make_record
from scripts.usage import UsageError

TINY = "model.width=8 model.head_width=4 model.context=16"
# Rates at which 2 steps make every map a contraction.
RATES = "optimizer.lr=1.6e-2 optimizer.muon_lr=1.6e-2"
SMALL = f"context=16 batch=4 log_every=1 checkpoint_every=2 validation.rows=2 {RATES} {TINY}"


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    """One folder, so that tables share their runs; it holds the corpus."""
    folder = tmp_path_factory.mktemp("reproduce")
    draw = random.Random(0)
    words = ["loop", "solve", "point", "fixed", "again", "until"]
    texts = [" ".join(draw.choices(words, k=draw.randint(5, 40))) for _ in range(120)]
    (folder / "words.txt").write_text("\n\n".join(texts))
    return folder


def reproduce(name: str, out: Path, *more: str, seeds: int = 2) -> dict:
    text = ["--text", str(out / "words.txt"), "--split-on", r"\n\n"]
    given = ["--out", str(out), "--seeds", str(seeds), "--steps", "2", "--rows", "4", *text]
    assert main(["reproduce", name, *given, *more, "--device", "cpu", "--set", *SMALL.split()]) == 0
    return json.loads((out / f"{name}.json").read_text())


def stamps(out: Path) -> dict[Path, int]:
    """When every run's weights were last written."""
    return {p: p.stat().st_mtime_ns for p in out.glob("runs/*/checkpoints/*/manifest.json")}


def trained(before: dict[Path, int], after: dict[Path, int]) -> set[str]:
    """Variants whose runs are new; earlier runs must be untouched."""
    assert before.items() <= after.items()
    return {path.parts[-4].rsplit("-mini", 1)[0] for path in after.keys() - before.keys()}


def published(record: dict, column: str) -> list:
    found = [row["published"].get(column) for row in record["rows"]]
    return [value for value in found if value is not None]


def test_tables_and_figures_share_runs_and_show_the_papers_numbers(out, capsys):
    first = reproduce("table1", out)
    assert published(first, "perplexity")[:3] == [21.48, 19.06, 18.3]
    assert published(first, "lambada") == [127.39, 80.64, 68.02]
    rows = {row["name"]: row for row in first["rows"]}
    assert rows["Attractor, T = 0"]["ours"]["evaluations"]["mean"] == 0
    assert rows["Attractor, solved"]["ours"]["evaluations"]["mean"] > 1
    # The T = 0 row is the sweep's first point of the same weights.
    swept, read_out = rows["Attractor, solved"]["sweep"], rows["Attractor, T = 0"]["ours"]
    assert list(swept) == ["0", "1", "2", "4", "8"]
    assert swept["0"]["perplexity"] == read_out["perplexity"]
    assert "sweep" not in rows["Transformer"]
    assert all(row["ours"]["perplexity"]["n"] == 2 for row in first["rows"])
    text = (out / "table1.md").read_text()
    assert "14.59 ± 0.11" in text
    assert "not run" in text  # no bundle was given
    assert "tokenizer bytes" in text

    before = stamps(out)
    assert reproduce("table1", out) == first  # measured anew or kept, the same to the last digit
    assert stamps(out) == before

    third = reproduce("table3", out)
    after = stamps(out)
    assert trained(before, after) == {"deq", "deq-tied"}
    assert published(third, "perplexity") == [42.18, 38.74, 34.05]
    assert published(third, "evaluations") == [14.6, 13.9, 8.4]
    same = next(row for row in third["rows"] if row["variant"] == "attractor")
    assert same["ours"]["perplexity"] == rows["Attractor, solved"]["ours"]["perplexity"]

    sixth = reproduce("fig6", out)
    assert stamps(out) == after
    for way in sixth["trajectories"].values():
        assert len(way["points"]) == 17
        assert way["distance_to_last"][-1] == 0
    assert [run["step"] for run in sixth["evaluations"]["deq"]] == [[1, 2], [1, 2]]

    seventh = reproduce("fig7", out)
    assert stamps(out) == after
    points = seventh["sizes"]["mini"]["models"]["attractor"]
    assert list(points) == [*map(str, range(9)), "own"]
    assert points["4"]["perplexity"] == swept["4"]["perplexity"]
    assert seventh["sizes"]["mini"]["published"]["Attractor, T = 0"] == 18.3

    recorded = make_record(out / "table1.json", command="loopbench reproduce table1")
    assert (recorded.study, recorded.scale) == ("reproduce table1", "mini")
    arm, row = recorded.arm("Attractor, solved"), rows["Attractor, solved"]
    for column in ("perplexity", "evaluations_late", "matmul_flops"):
        known = arm.spread(column)
        assert (known.mean, known.sd) == pytest.approx(
            (row["ours"][column]["mean"], row["ours"][column]["sd"])
        )
    assert arm.spread("perplexity_at_0").mean == read_out["perplexity"]["mean"]
    assert arm.spread("training_tokens").mean == 2 * 4 * 16
    assert arm.published == {"perplexity": 18.54}
    assert arm.config["model"]["width"] == 8
    for name in ("fig6", "fig7"):
        assert (out / f"{name}.png").stat().st_size > 5000
    capsys.readouterr()


def test_injection_backward_and_start(out, capsys):
    fourth = reproduce("table4", out)
    assert published(fourth, "perplexity") == [51.92, 36.81, 34.05]
    assert published(fourth, "converged") == [12.4, 88.6, 99.7]
    assert published(fourth, "evaluations")[0] == "T_max"

    fifth = reproduce("table5", out)
    assert published(fifth, "memory_ratio") == [4.8, 1.8, 1.0]
    assert published(fifth, "time_ratio") == [2.7, 1.4, 1.0]
    ours = {row["name"]: row["ours"] for row in fifth["rows"]}
    one_step, full = ours["one-step, u = v"], ours["full IFT (Anderson on u)"]
    assert one_step["memory_ratio"]["mean"] == 1
    assert ours["phantom, K 3"]["memory_ratio"]["mean"] > 1  # three applications are kept
    assert full["flops_ratio"]["mean"] > 1
    gap = one_step["perplexity"]["mean"] - full["perplexity"]["mean"]
    assert one_step["over_full"]["mean"] == pytest.approx(gap)

    before = stamps(out)
    some = reproduce("table5", out, "--only", "attractor", "attractor-phantom")
    assert stamps(out) == before
    assert [row["name"] for row in some["rows"]] == ["phantom, K 3", "one-step, u = v"]
    assert some["rows"][1]["ours"]["memory_ratio"] == one_step["memory_ratio"]
    assert "over_full" not in some["rows"][1]["ours"], "its reference is not there"

    before = stamps(out)
    sixth = reproduce("table6", out)
    assert trained(before, stamps(out)) == {"attractor-zero", "attractor-gaussian"}
    assert published(sixth, "perplexity") == [43.87, 41.26, 34.05]
    # One model solved to 1e-4 from three starts: the fixed point is one.
    strict = [r["ours"] for r in sixth["rows"] if r["reading"]["tolerance"] is not None]
    assert len(strict) == 3
    assert all(each["converged"]["mean"] == 1 for each in strict)
    found = [each["perplexity"]["mean"] for each in strict]
    assert np.ptp(found) < 1e-3 * found[0]
    capsys.readouterr()


def test_figure4_prints_the_nine_published_totals(tmp_path, capsys):
    assert main(["reproduce", "fig4", "--scale", "full", "--out", str(tmp_path)]) == 0
    record = json.loads((tmp_path / "fig4.json").read_text())
    bars = record["bars"]
    assert record["ratios"]["770m"]["matmul"]["parcae"] == pytest.approx(1.02, abs=0.005)
    totals = [round(bar["published_rule_exaflops"], 1) for bar in bars]
    assert totals == [9.2, 15.2, 11.3, 71.5, 123.5, 92.9, 305.2, 545.8, 377.4]
    said = capsys.readouterr().out
    assert all(str(total) in said for total in totals)
    assumed = [bar["evaluations_source"] for bar in bars if bar["model"] == "attractor"]
    assert assumed == [f"assumed T = {n}" for n in (6, 8, 6)]  # as many as the paper's Table 8 has
    assert (tmp_path / "fig4.png").stat().st_size > 5000


def test_figure4_takes_the_evaluations_of_runs(out, capsys):
    run = out / "runs" / "attractor-mini-seed0"
    lm_comparison.train_variants(study(out, out, seeds=1), [ATTRACTOR], "mini")
    place = out / "figure4"
    assert main(["reproduce", "fig4", "--out", str(place), "--runs", str(run)]) == 0
    bars = json.loads((place / "fig4.json").read_text())["bars"]
    mini = next(b for b in bars if (b["size"], b["model"]) == ("mini", "attractor"))
    assert mini["evaluations"] == pytest.approx(
        lm_comparison.training_numbers(run)["evaluations_training"]
    )
    assert "measured" in mini["evaluations_source"]
    capsys.readouterr()


def test_figure5_grows_with_unrolled_loops_alone(tmp_path, capsys):
    words = ["reproduce", "fig5", "--out", str(tmp_path), "--depths", "1", "4", "8"]
    assert main([*words, "--device", "cpu", "--set", "context=16", "batch=4", *TINY.split()]) == 0
    record = json.loads((tmp_path / "fig5.json").read_text())
    series = {name: each["bytes"] for name, each in record["series"].items()}
    assert len(set(series["attractor, one-step"])) == 1
    for name in ("attractor, unrolled", "parcae, every loop with gradient"):
        one, four, eight = series[name]
        assert (eight - four) / 4 == pytest.approx((four - one) / 3, rel=0.05)
        assert eight > four > one
    one, four, eight = series["parcae, last 4 loops with gradient"]
    assert one < four
    assert four == eight
    assert (tmp_path / "fig5.png").exists()
    capsys.readouterr()


def test_principal_components_are_those_of_the_covariance():
    points = np.random.default_rng(0).normal(size=(40, 5)) * [5, 3, 1, 0.5, 0.1] + 7
    coordinates, shares = principal_components(points)
    values, axes = np.linalg.eigh(np.cov(points.T))
    expected = (points - points.mean(0)) @ axes[:, ::-1][:, :2]
    np.testing.assert_allclose(np.abs(coordinates), np.abs(expected), atol=1e-10)
    np.testing.assert_allclose(shares, values[::-1][:2] / values.sum())
    line = np.outer([0.0, 1.0, 3.0], [3.0, 4.0])
    coordinates, shares = principal_components(line)
    np.testing.assert_allclose(coordinates[:, 0], [-20 / 3, -5 / 3, 25 / 3])
    np.testing.assert_allclose(shares, [1, 0], atol=1e-12)


def test_a_trajectory_starts_at_the_proposal_and_ends_at_the_solution():
    tokens = torch.arange(12).view(1, 12)
    small = {"width": 16, "head_width": 8}
    config = LANGUAGE_PRESETS["attractor-mini"].model_copy(update=small)
    model = build_language_model(config, 16, 0).eval()
    states = trajectory(model, tokens, 24)
    f, proposal, _ = model.fixed_point(tokens)
    np.testing.assert_allclose(states[0, 0], proposal[0, -1].numpy())
    with torch.no_grad():
        first = f(proposal)[0, -1].numpy()
    np.testing.assert_allclose(states[0, 1], first, rtol=1e-5, atol=1e-6)
    assert distances_to_last(states)[0, 20] < 0.01
    parcae = build_language_model(
        LANGUAGE_PRESETS["parcae-mini"].model_copy(update=small), 16, 0
    ).eval()
    longer, shorter = trajectory(parcae, tokens, 4), trajectory(parcae, tokens, 2)
    np.testing.assert_array_equal(longer[:, :3], shorter)
    with torch.no_grad():  # what is followed is what is decoded
        seen = []
        hook = parcae.coda[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        parcae(tokens, SolveBudget(4))
        hook.remove()
        decoded = parcae.readout(torch.from_numpy(longer[:, -1]))
    torch.testing.assert_close(seen[0][:, -1], decoded, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "gradient",
    [
        {"kind": "one-step"},
        {"kind": "neumann", "terms": 1},
        {"kind": "neumann", "terms": 3},
        {"kind": "phantom", "steps": 3},
        {"kind": "unrolled"},
    ],
    ids=str,
)
def test_the_matmul_rule_charges_a_gradient_what_it_executes(gradient):
    solver = SolverConfig(max_evaluations=3, min_evaluations=3)
    update = {"gradient": GradientConfig(**gradient), "solver": solver, "context": 32}
    config = LANGUAGE_PRESETS["attractor-mini"].model_copy(update=update)
    model = build_language_model(config, 64, 0)
    tokens = torch.randint(64, (1, 32), generator=torch.Generator().manual_seed(0))
    passes = measured_passes({"evaluations": 3.0}, config.gradient_passes())
    rule = matmul_rule(model.cost(), 32, passes)
    # Fused attention's backward computes its scores once more, which the rule leaves out.
    assert step_cost(model, tokens, "fp32").flops / 32 == pytest.approx(rule, rel=0.02)


def study(out: Path, place: Path, seeds: int, steps: int = 2) -> Study:
    """Of its own runs, on the corpus of the others."""
    if not (out / "corpus").exists():
        build_text(out, text_of([out / "words.txt"], "\n\n"))
    asked = {"asked_seeds": seeds, "steps": steps, "rows": 4, "set": tuple(SMALL.split())}
    return Study(out=place, corpus=out / "corpus", device="cpu", **asked)


def test_a_run_that_fails_is_listed_and_the_others_are_kept(out, tmp_path, monkeypatch):
    real = lm_comparison.pretrain_run

    def fails_once(config, *rest, **options):
        if config.preset == "transformer-plain-mini" and config.seed == 0:
            raise TrainingError("step 1: the loss is nan")
        return real(config, *rest, **options)

    entries = (Entry("plain", PLAIN, {"perplexity": 1.5}),)
    table = LanguageTable("Test", {"60m": entries}, ("perplexity",))
    made = study(out, tmp_path, seeds=2)
    monkeypatch.setattr(lm_comparison, "pretrain_run", fails_once)
    text = language_table(made, "test", table)
    assert "| plain | mini | 2, 1 failed | 1.50 |" in text
    assert "transformer-plain-mini-seed0 failed: step 1: the loss is nan" in text
    (row,) = json.loads((tmp_path / "test.json").read_text())["rows"]
    assert row["ours"]["perplexity"]["n"] == 1
    monkeypatch.undo()
    assert "| plain | mini | 2 | 1.50 |" in language_table(made, "test", table)


def test_an_interrupted_run_goes_on_as_if_nothing_had_been(out, tmp_path, monkeypatch):
    whole, broken = (study(out, tmp_path / name, seeds=1, steps=4) for name in ("whole", "broken"))
    lm_comparison.train_variants(whole, [PLAIN], "mini")
    real = jobs._Lines.progress

    def interrupts(self, name, progress):
        real(self, name, progress)
        if progress.step == 1:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(jobs._Lines, "progress", interrupts)
    with pytest.raises(KeyboardInterrupt):
        lm_comparison.train_variants(broken, [PLAIN], "mini")
    monkeypatch.undo()
    assert {path.parts[-2] for path in stamps(broken.out)} == {"step-00000002"}
    lm_comparison.train_variants(broken, [PLAIN], "mini")
    run = "runs/transformer-plain-mini-seed0"
    logs = [(made.out / run / "metrics.jsonl").read_bytes() for made in (whole, broken)]
    assert logs[0] == logs[1]


def test_two_commands_do_not_train_one_run_at_once(out, tmp_path, capsys):
    """A study waits for the other command, and says so."""
    made = study(out, tmp_path, seeds=1)
    run = made.folder(PLAIN, "mini", 0)
    run.parent.mkdir()
    other = threading.Thread(target=lm_comparison.train_variants, args=(made, [PLAIN], "mini"))
    with (run.parent / f".{run.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        other.start()
        other.join(0.3)
        assert other.is_alive()
        assert not run.exists()
    other.join()
    assert lm_comparison.training_numbers(run)["steps"] == 2
    told = " ".join(capsys.readouterr().err.split())
    assert f"{run.name}: another command trains this run; waiting" in told


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["table1"], ["--corpus", "--text"]),
        (["table1", "--scale", "full", "--corpus", "nowhere"], ["nowhere"]),
        (["table3", "--seeds", "0"], ["--seeds", "at least 1"]),
        (["table3", "--limit", "5"], ["--bundle"]),
        (["table3", "--set", "width"], ["width", "NAME=VALUE"]),
        (["table3", "--set", "steps=3"], ["--steps"]),
        (["fig6", "--only", "deq"], ["--only", "fig6"]),
        (["fig5", "--depths", "0"], ["--depths"]),
        (["fig5", "--set", "model.widht=16"], ["widht"]),
        (["fig4", "--runs", "nowhere"], ["nowhere"]),
        (["table4", "--set", "model.injection=additive", "--text", __file__], ["injection"]),
        (["worth", "--set", "model.layers=2", "--text", __file__], ["model.layers", "stack-1x1"]),
    ],
)
def test_bad_words_are_refused_in_one_line(words, parts, tmp_path, capsys):
    assert main(["reproduce", *words, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    for part in parts:
        assert part in said
    assert not (tmp_path / "out" / "runs").exists()


def test_other_settings_in_one_folder_are_refused(out, capsys):
    lm_comparison.train_variants(study(out, out, seeds=1), [DEQ], "mini")
    words = ["reproduce", "table3", "--out", str(out), "--device", "cpu", "--seeds", "1"]
    assert main([*words, "--steps", "3", "--set", *SMALL.split()]) == 2
    assert "another configuration" in capsys.readouterr().err


def test_changes_are_nested_and_read_as_json():
    words = ["batch=4", "model.width=64", "model.solver.kind=picard", "compile=false"]
    nested = {"width": 64, "solver": {"kind": "picard"}}
    assert changes_of(words) == {"batch": 4, "model": nested, "compile": False}
    with pytest.raises(UsageError, match="model is set to a value before"):
        changes_of(["model=3", "model.width=64"])


def test_a_variants_name_stands_for_one_configuration():
    """At every size, so that tables can share runs by name."""
    found: dict[str, dict] = {}
    for table in LANGUAGE_TABLES.values():
        for scale in ("mini", "full"):
            made = Study(out=Path("out"), scale=scale)
            for size in table.sizes(scale, ()):
                for entry in table.rows(size):
                    config = made.configuration(entry.variant, size).model_dump()
                    assert found.setdefault(config.pop("preset"), config) == config
    assert len(found) == 29 + 4 * 3 + 1 + 25  # mini, table 1 at its sizes, 60m without table 1
    values = list(found.values())
    assert all(a != b for i, a in enumerate(values) for b in values[:i])


@pytest.mark.parametrize("name", LANGUAGE_TABLES)
def test_every_claim_names_rows_of_its_table(name):
    table = LANGUAGE_TABLES[name]
    for scale in ("mini", *table.sizes("full", ())):
        names = [entry.name for entry in table.rows(scale)]
        assert len(set(names)) == len(names)
    names = {entry.name for entry in table.rows("mini")}
    assert all({claim.less, claim.more} <= names for claim in table.claims)


def test_a_loop_is_worth_its_root_of_layers():
    """Of losses that are known: a loop of 4 over 2 layers as deep as 2 * 4^phi of them."""

    def loss(depth: float) -> float:
        return 3 - 0.2 * np.log2(depth)

    once = {depth: loss(depth) for depth in (1, 2, 4, 8)}
    for phi in (-0.5, 0, 0.25, 0.46, 0.5, 1):
        assert exponent(loss(2 * 4**phi), 2, 4, once) == pytest.approx(phi)
    assert exponent(2.5, 2, 4, {2: 3.0, 4: 2.0}) == pytest.approx(0.25)  # half way in log depth
    for outside in (loss(9), loss(0.9)):
        assert exponent(outside, 2, 4, once) is None
    assert exponent(2.9, 2, 4, {1: 3.0, 2: 3.1, 4: 2.8}) is None  # does not fall with depth


def test_what_a_loop_is_worth_is_told_seed_by_seed(out, monkeypatch, capsys):
    """By the losses of the stacks applied once, of the same seed; a record has its interval."""
    steps = {0: 0.1, 1: 0.2}  # by seed, what twice the depth takes off the loss
    worth = {0: 0.5, 1: 0.75}

    def scores(study, run, readings):
        name, seed = re.fullmatch(r"(.*)-mini-seed(.)", run.name).groups()
        layers, loops = {"stack-1x1": (1, 1), "stack-8x1": (8, 1)}.get(name, (4, 2))
        seed, depth = int(seed), layers * loops ** worth[int(seed)]
        loss = 3 - steps[seed] * np.log2(depth)
        return [{"perplexity_with_bos": float(np.exp(loss))} for _ in readings]

    monkeypatch.setattr(language_report, "held_out", scores)
    chosen = ["--only", "stack-1x1", "stack-8x1", "transformer-looped", "--also", "parcae"]
    *rows, parcae = reproduce("worth", out, *chosen)["rows"]
    assert "worth" not in parcae["ours"]
    assert [row["name"] for row in rows] == ["1 layer", "8 layers", "4 layers, twice"]
    assert [run["numbers"]["worth"] for run in rows[2]["runs"]] == pytest.approx([0.5, 0.75])
    assert "worth" not in rows[1]["ours"]
    assert "| 4 layers, twice | mini | 2 |" in (out / "worth.md").read_text()
    cells = record_table(make_record(out / "worth.json", command="loopbench reproduce worth")).rows
    assert cells["4 layers, twice"]["worth"] == "0.62 ± 0.18"
    low, high = map(float, cells["4 layers, twice"]["worth_interval"].split(" to "))
    assert (low + high) / 2 == pytest.approx(0.625, abs=0.01)
    assert high - low == pytest.approx(2 * 12.706 * 0.125, rel=0.01)  # Student's t of two seeds
    assert cells["8 layers"]["worth_interval"] == "-"
    looped = next(run for run in rows[2]["runs"])["numbers"]
    once = next(run for run in rows[1]["runs"])["numbers"]
    assert looped["matmul_flops"] == once["matmul_flops"]
    assert looped["parameters"] < once["parameters"]
    capsys.readouterr()
