"""Comparison numbers, failures and collapses, and the one-file report."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml

from scripts.models.labels import label
from scripts.models.presets import RunConfig, preset
from scripts.models.variants import file_name
from scripts.reports import figures
from scripts.reports.curves import Curve, Point, for_page, read_curve
from scripts.reports.differences import compared
from scripts.reports.figures import plot_difficulty, plot_residuals
from scripts.reports.html_report import FIRST, Section, write_html
from scripts.reports.report import Row, comparison, headings, markdown, training_cost, verdict
from scripts.studies.examples import telling_puzzle
from scripts.studies.origin import command_line, origin, recipes, settings_apart

NAMES = ("cell", "exact", "valid")


def record(exact: float, calls: float = 10.0) -> dict:
    metrics = {name: {"mean": exact, "stderr": 0.01, "n": 50} for name in NAMES}
    return {
        "parameters": 1234,
        "embedding_parameters": 56,
        "segments": 16,
        "step": 60,
        "metrics": metrics,
        "net_calls_per_puzzle": calls,
        "flops_per_puzzle": 3e6,
        "selection": {
            "halt-first": {"metrics": metrics, "net_calls_per_puzzle": {"mean": calls / 2}}
        },
    }


def row(label: str, seed: int, exact: float, **cost: float) -> Row:
    cost = {"net_calls": 1e6, "seconds": 60.0, "flops": 2e12, "bytes": 2**20} | cost
    return Row(label, Path(f"{label}-{seed}"), seed, record(exact), record(0.9), cost)


def test_means_and_deviations_over_seeds():
    rows = [row("a", 0, 0.5), row("a", 1, 0.7, flops=4e12), row("b", 0, 0.005)]
    groups = comparison(rows)
    exact = groups["a"]["metrics"]["exact"]
    assert exact == pytest.approx({"mean": 0.6, "sd": float(np.std([0.5, 0.7], ddof=1)), "n": 2})
    assert groups["a"]["training_flops"]["mean"] == 3e12
    assert groups["a"]["halted_net_calls_per_puzzle"]["mean"] == 5.0
    assert groups["a"]["collapsed"] == 0
    assert groups["b"]["collapsed"] == 1
    assert [run["exact"]["mean"] for run in groups["a"]["runs"]] == [0.5, 0.7]


def columns(text: str) -> dict[str, str]:
    """The first row of the table by its headings."""
    head, _, first = (line.strip("| ").split(" | ") for line in text.splitlines()[:3])
    return dict(zip(head, first, strict=True))


def test_training_and_held_out_puzzles_have_the_same_columns():
    held_out, training = {}, {}
    for i, name in enumerate((*NAMES, "valid_shortest")):
        held_out[name] = {"mean": 0.10 + i / 100, "stderr": 0.01, "n": 50}
        training[name] = {"mean": 0.80 + i / 100, "stderr": 0.01, "n": 200}
    one = row("a", 0, 0.5)
    one.evaluation["metrics"], one.training_set["metrics"] = held_out, training
    text = markdown(comparison([one]))
    found = columns(text)
    for i, name in enumerate(("cell", "exact", "valid", "valid shortest")):
        assert found[f"{name} %"] == f"{10 + i}.0"
        assert found[f"training {name} %"] == f"{80 + i}.0"
    assert "50 held-out puzzles and 200 of the training puzzles" in text


def test_runs_of_different_lengths_are_not_averaged():
    rows = [row("a", 0, 0.5), row("a", 1, 0.7)]
    rows[1].evaluation["step"] = 120
    assert list(comparison(rows)) == ["a steps=60", "a steps=120"]


def test_runs_on_different_puzzles_are_not_averaged():
    rows = [replace(row("a", seed, 0.5), data=f"data/{size}") for seed, size in ((0, 4), (1, 6))]
    assert list(comparison(rows)) == ["a on data/4", "a on data/6"]


def test_runs_trained_on_other_puzzles_or_begun_otherwise_are_not_averaged():
    a, b, c = (row("a", seed, 0.5) for seed in range(3))
    a, b = replace(a, trained_on="data/4"), replace(b, trained_on="data/6")
    assert list(comparison([a, b])) == ["a trained on data/4", "a trained on data/6"]
    begun = replace(c, trained_on="data/4", began=60)
    assert list(comparison([a, begun])) == ["a from the start", "a after 60 steps"]
    assert list(comparison([begun, replace(begun, seed=0)])) == ["a"]


def test_runs_of_one_seed_are_one_value():
    """Of the mean, as the differences take them, with what they cost."""
    rows = [row("a", 0, 0.4, flops=1e12), row("a", 0, 0.6, flops=3e12), row("a", 1, 0.7)]
    group = comparison(rows)["a"]
    assert group["metrics"]["exact"] == pytest.approx(
        {"mean": 0.6, "sd": float(np.std([0.5, 0.7], ddof=1)), "n": 2}
    )
    assert group["training_flops"]["mean"] == 2e12
    assert columns(markdown(comparison(rows)))["seeds"] == "2 (3 runs)"
    assert "mean of 2 seeds" in verdict(comparison(rows))


def test_imported_weights_have_no_cost_of_training(tmp_path):
    assert training_cost(tmp_path, 0) == {}
    imported = replace(row("a", 0, 0.5), cost={})
    text = markdown(comparison([imported, row("a", 1, 0.5)]))
    assert columns(text)["training TFLOP"] == columns(text)["MiB"] == "-"


def test_small_amounts_are_not_shown_as_nothing():
    found = columns(markdown(comparison([row("a", 0, 0.5, flops=3.21e9, net_calls=1234.0)])))
    assert found["training TFLOP"] == "0.00321"
    assert found["training net calls, 1e6"] == "0.00123"


def test_runs_of_one_name_and_other_settings_are_rows_of_their_own():
    rows = [replace(row("a", seed, 0.5), recipe=recipe) for seed, recipe in enumerate("xxy")]
    groups = comparison(rows)
    assert {name: len(group["runs"]) for name, group in groups.items()} == {
        "a settings x": 2,
        "a settings y": 1,
    }


def test_failures_stay_in_the_table():
    rows = [row("a", 0, 0.5), Row("a", Path("a-1"), 1, failure="the loss is nan at step 7")]
    rows.append(Row("b", Path("b-0"), 0, failure="the loss is inf at step 3"))
    groups = comparison(rows)
    text = markdown(groups)
    assert groups["a"]["failed"] == 1
    assert groups["a"]["metrics"]["exact"]["n"] == 1
    assert "2, 1 failed" in text
    assert "1, all failed" in text
    assert "the loss is nan at step 7" in text
    heads = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert len(heads) == 2, "every row of each of the two tables has its table's columns"


def test_runs_older_than_the_meter_show_a_dash():
    old = row("a", 0, 0.5)
    for name in ("flops", "bytes"):
        del old.cost[name]
    assert comparison([old])["a"]["training_flops"] is None
    assert "| - |" in markdown(comparison([old]))


def test_training_cost_sums_what_the_logs_hold(tmp_path):
    steps = [{"split": "train", "step": s, "total_net_calls": 10.0 * s} for s in (1, 2)]
    timing = [{"split": "train", "step": s, "seconds": 2.0, "flops": 5.0} for s in (1, 2)]
    timing[0]["saved_bytes"], timing[1]["saved_bytes"] = 7, 9
    timing.append({"split": "test", "step": 2, "seconds": 100.0})
    # Past the step that is scored: not its cost.
    steps.append({"split": "train", "step": 3, "total_net_calls": 30.0})
    timing.append({"split": "train", "step": 3, "seconds": 9.0, "flops": 9.0, "saved_bytes": 99})
    for name, records in (("metrics", steps), ("timing", timing)):
        lines = "".join(json.dumps(r) + "\n" for r in records)
        (tmp_path / f"{name}.jsonl").write_text(lines)
    want = {"net_calls": 20.0, "seconds": 4.0, "flops": 10.0, "bytes": 9}
    assert training_cost(tmp_path, 2) == want


def test_a_label_names_what_differs_from_the_preset():
    config = preset("trm-mini")
    assert label(config) == "trm-mini"
    values = config.model_dump()
    values["model"]["layers"], values["seed"], values["data"] = 4, 3, "somewhere"
    assert label(RunConfig.model_validate(values)) == "trm-mini model.layers=4"


class Page(HTMLParser):
    """Collects what a browser would fetch, and checks that tags close."""

    def __init__(self):
        super().__init__()
        self.fetched, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.fetched += [v for k, v in attrs if k in ("src", "href")]
        if tag not in ("meta", "img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_verdict_claims_no_more_than_the_seeds_show():
    def said(*rows: Row) -> str:
        return verdict(comparison(rows))

    b = [row("b", seed, exact) for seed, exact in enumerate((0.3, 0.5))]
    above = said(row("a", 0, 0.6), *b, row("a", 1, 0.8))
    assert above.startswith("a gets 70.0 ± 14.1 % of 50 held-out puzzles exactly right, the most")
    assert "all of 2 seeds differ alike, from which nothing follows." in above
    # 0.1 and 0.3: t at one degree of freedom is 12.7062, times their standard error 0.1.
    chance = said(row("a", 0, 0.4), row("a", 1, 0.8), *b)
    assert "by seed is -107.1 to 147.1 points, so this may be chance." in chance
    # Other seeds: Welch's, 30 points and 4.3027 (two degrees) times 0.1 sqrt(2).
    unlike = said(row("a", 0, 0.6), row("a", 2, 0.8), *b)
    assert "of the means is -30.8 to 90.8 points, so this may be chance." in unlike
    assert "one seed of each is a first look" in said(row("a", 0, 0.6), b[0])
    twice = said(row("a", 0, 0.6), row("a", 0, 0.8), b[0])
    assert "one seed of each is a first look" in twice  # two runs of a seed are one seed
    assert "one seed of one of them is a first look" in said(row("a", 0, 0.6), *b)
    assert "no difference" in said(row("a", 0, 0.4), row("a", 1, 0.4), *b)
    assert said(b[0]) == "b gets 30.0 % of 50 held-out puzzles exactly right, one seed."
    assert said(row("a", 0, 0.0), row("b", 0, 0.005)).startswith("No model solves the 50")
    assert (
        said(Row("a", Path("a"), 0, failure="nan")) == "No run could be scored: all of them failed."
    )
    apart = replace(row("a", 0, 0.6), data="other")
    assert "different puzzles" in said(apart, b[0])


def test_the_first_model_is_set_against_every_other_seed_by_seed(tmp_path):
    a = [row("a", seed, exact) for seed, exact in enumerate((0.5, 0.6, 0.7))]
    b = [row("b", seed, exact) for seed, exact in enumerate((0.4, 0.3, 0.5))]
    c = [
        row("c", 0, 0.9),
        Row("c", Path("c"), 1, failure="nan"),
        replace(row("d", 0, 0.1), data="x"),
    ]
    groups = comparison([*a, *b, *c])
    first, second, third = compared(groups)
    # 0.1, 0.3, 0.2: mean 0.2, standard error 0.1 / sqrt(3), Student's t at 2 degrees 4.3027
    assert first["less"] == "a less b"
    assert first["points"] == "+20.0"
    assert first["interval"] == "-4.8 to 44.8"
    assert first["seeds"] == "3"
    assert (second["less"], second["seeds"], second["interval"]) == (
        *("a less c", "3 for 1"),
        "none: one seed",
    )
    assert (third["less"], third["interval"]) == ("a less d", "scored on other puzzles")
    assert "| a less b | 60.0 for 40.0 | 3 | +20.0 | -4.8 to 44.8 |" in markdown(groups)
    write_html(groups, [], {}, "Title", tmp_path / "report.html")
    assert "-4.8 to 44.8" in (tmp_path / "report.html").read_text()


def test_two_runs_of_a_seed_are_one_seed():
    a = [row("a", 0, exact) for exact in (0.5, 0.7)]
    assert compared(comparison([*a, row("b", 0, 0.4)])) == []
    (told,) = compared(comparison([*a, row("b", 0, 0.3), row("b", 1, 0.5)]))
    assert (told["each"], told["seeds"]) == ("60.0 for 40.0", "1 for 2")
    assert told["interval"] == "none: one seed"


def test_seeds_that_differ_alike_have_no_interval():
    rows = [row(name, seed, exact) for name, exact in (("a", 0.5), ("b", 0.4)) for seed in (0, 1)]
    (told,) = compared(comparison(rows))
    assert (told["points"], told["interval"]) == ("+10.0", "none: all seeds differ alike")
    none = compared(comparison([row(name, seed, 0.0) for name in "ab" for seed in (0, 1)]))
    assert none[0]["points"] == "+0.0"


def test_six_columns_stand_first_and_the_others_behind_a_fold(tmp_path):
    out = tmp_path / "report.html"
    groups = comparison([row("a", 0, 0.5)])
    write_html(groups, [], {}, "Title", out)
    before, folded = out.read_text().split("<details>", 1)
    shown = re.findall(r"<th>(.*?)</th>", before)
    rest = re.findall(r"<th>(.*?)</th>", folded.split("</details>")[0])
    assert len(shown) == 6
    assert tuple(shown) == FIRST
    assert sorted(shown + rest[1:]) == sorted(headings(NAMES))
    assert before.index(verdict(groups)) < before.index("<table")
    assert 'name="viewport"' in before  # else a phone lays it out as wide as a desk's screen


def test_a_curve_has_the_costs_of_training_up_to_each_line(tmp_path):
    lines = [{"split": "train", "step": s, "cell_loss": 1 / s} for s in (1, 2, 3)]
    exact = {"mean": 0.25, "stderr": 0.05, "n": 20}
    lines[2:2] = [{"split": "test", "step": 2, "exact": exact}]
    timing = [{"split": "train", "step": s, "seconds": 60.0, "flops": 5e11} for s in (1, 2)]
    timing.append({"split": "test", "step": 2, "seconds": 1000.0})  # not of training
    for name, records in (("metrics", lines), ("timing", timing)):
        text = "".join(json.dumps(r) + "\n" for r in records)
        (tmp_path / f"{name}.jsonl").write_text(text)
    curve = read_curve("a", 3, tmp_path)
    # Step 3 was killed before its time was written.
    assert curve.loss == [Point(1, 1.0, 0.5, 1.0), Point(2, 2.0, 1.0, 0.5)]
    assert curve.exact == [Point(2, 2.0, 1.0, 25.0, 5.0)]
    long = Curve("b", 0, [Point(s, s / 7, None, 1.0) for s in range(1, 2001)], [])
    page = for_page([curve, long, curve])
    assert page["models"] == ["a", "b"]
    assert [run["model"] for run in page["runs"]] == [0, 1, 0]
    kept = page["runs"][1]["loss"]
    assert 200 < len(kept) <= 400
    assert kept[-1] == [2000, 285.714, None, 1.0, 0.0]


def test_what_made_a_report_has_date_command_data_steps_and_rate(tmp_path):
    rows = []
    for seed, (name, lr) in enumerate((("trm-mini", 1e-3), ("hrm-mini", 2e-3), ("trm-mini", 1e-3))):
        config = preset(name).model_dump(mode="json")
        config["optimizer"]["lr"], config["steps"] = lr, 1500
        grid = {"kind": "sudoku", "size": 4, "cells": 16, "vocabulary": 6, "puzzles": 1}
        folder = tmp_path / f"{name}-{seed}"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"config": config, "grid": grid}))
        made = {"date": f"2026-01-0{3 - seed}T10:00:30+00:00", "commit": "abc"}
        made |= {
            "command": ["/x/bin/loopbench", "train", "--out", "a b"],
            "packages": {"torch": "2"},
        }
        (folder / "environment.json").write_text(json.dumps(made))
        rows.append(replace(row(name, seed, 0.5), folder=folder))
    rows.append(Row("trm", tmp_path / "none", 0, failure="out of memory"))  # left no record
    found = origin(rows, {"data/x": "4x4 sudoku, 10 training and 5 held-out puzzles"})
    assert found["date"] == "2026-01-01 10:00 UTC to 2026-01-03 10:00 UTC"
    assert found["command"] == "loopbench train --out 'a b'"
    assert found["data"] == "data/x: 4x4 sudoku, 10 training and 5 held-out puzzles"
    assert found["steps"] == "1,500"
    warmup = preset("trm-mini").optimizer.warmup
    rates = [f"{lr} after {warmup} steps of warm-up" for lr in ("0.001", "0.002")]
    assert found["learning rate"] == f"{rates[0]} (trm-mini); {rates[1]} (hrm-mini)"
    assert "gpu" not in found
    assert found["recipe"].startswith("adamw at a cosine rate, weight decay 0.1, softmax loss")
    # What tells the models apart, and all that trains each again.
    apart = settings_apart(rows)
    assert apart.headings == ["setting", "trm-mini", "hrm-mini"]
    assert ["optimizer.lr", "0.001", "0.002"] in apart.rows
    assert ["model.kind", "trm", "hrm"] in apart.rows
    assert "steps" not in [name for name, *_ in apart.rows]
    (again, _) = recipes(rows).values()
    assert RunConfig.model_validate(yaml.safe_load(again)).optimizer.lr == 1e-3
    assert command_line(["/c/scripts/__main__.py", "train"]) == "python -m scripts train"
    reliability = ["/c/scripts/studies/reliability.py", "-h"]
    assert command_line(reliability) == "python -m scripts.studies.reliability -h"


def test_the_puzzle_shown_is_the_one_that_takes_longest_and_stays_right():
    no, yes = False, True
    right = np.array([
        [yes, yes, yes, yes],
        [no, yes, no, yes],  # right once before: not steady
        [no, no, yes, yes],
        [no, no, no, no],
    ])  # fmt: skip
    assert telling_puzzle(right) == (2, 3)
    assert telling_puzzle(right[[3, 1]]) == (1, 4)
    assert telling_puzzle(right[3:]) == (0, 0)
    assert telling_puzzle(right[:1]) == (0, 1)


def test_residuals_that_are_compared_share_axes_and_bins(tmp_path, monkeypatch):
    drawn = []
    make = figures.new_figure
    monkeypatch.setattr(figures, "new_figure", lambda *size: drawn.append(make(*size)) or drawn[-1])
    right = np.array([True, False])
    parts = [(name, 10.0 ** np.array(logs), right, True) for name, logs in
             (("a", (-7, -6)), ("b", (-2, -1)), ("c", (-4, -3)), ("d", (-5, -5)))]  # fmt: skip
    assert plot_residuals(parts, tmp_path / "residuals.png")
    panels = [axes for axes in drawn[0].axes if axes.get_visible()]
    assert [axes.get_title() for axes in panels] == ["a", "b", "c", "d"]
    for limits in ("get_xlim", "get_ylim"):
        assert len({getattr(axes, limits)() for axes in panels}) == 1
    bars = [[bar.get_x() for bar in axes.containers[0]] for axes in panels]
    assert all(places == bars[0] for places in bars)
    assert panels[0].get_xlim()[0] < -7
    assert panels[0].get_xlim()[1] > -1


def test_names_in_paths_hold_no_commas_or_spaces():
    assert file_name("trm-matched, damped") == "trm-matched-damped"
    assert file_name("trm-mlp model.layers=4") == "trm-mlp-model.layers-4"
    assert file_name("attractor-7m") == "attractor-7m"


def test_the_report_is_one_file_that_fetches_nothing(tmp_path):
    residuals = [("a", np.array([1e-3, 0.1, np.inf]), np.array([True, False, False]), True)]
    picture, out = tmp_path / "residuals.png", tmp_path / "report.html"
    assert plot_residuals(residuals, picture)
    rows = [row("a <b>", 0, 0.5), Row("c", Path("c-0"), 0, failure="nan & more")]
    sections = [Section("Residuals", [(picture, "first")], "A sentence.")]
    write_html(comparison(rows), sections, {"commit": "abc"}, "Comparison & test", out)
    text, page = out.read_text(), Page()
    page.feed(text)
    assert page.open == []
    assert len(page.fetched) == 1
    assert page.fetched[0].startswith("data:image/png;base64,")
    assert "a &lt;b&gt;" in text
    assert "nan &amp; more" in text
    assert re.search(r"<dt>commit</dt><dd>abc</dd>", text)


def test_pictures_of_nothing_are_not_drawn(tmp_path):
    path = tmp_path / "none.png"
    assert not plot_difficulty([("a", record(0.5))], path)
    assert not plot_residuals([("a", np.full(3, np.inf), np.ones(3, bool), False)], path)
    assert not path.exists()
