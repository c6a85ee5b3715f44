"""Tables of pages: filled from records, checked against them, refused where a marker is wrong."""

import re

import pytest
import torch

from reasoning.nn.grid import GridShape
from reasoning.nn.reasoner import parameter_count
from reasoning.supervision import Depth
from reasoning.training.meter import Meter
from scripts.cli import main
from scripts.commands.tables import ROOT, pages, tables_of
from scripts.models.grids import puzzle_structure
from scripts.models.presets import build_model, preset
from scripts.reports.differences import Pair, recorded
from scripts.reports.record_table import COLUMNS, record_table
from scripts.reports.records import (
    Arm,
    Estimate,
    Record,
    SeedRun,
    Spread,
    read_records,
    record_text,
)
from scripts.reports.reported import PUBLISHED, reported_table
from scripts.reports.summary_table import Line, Summary, summary_table
from scripts.reports.tables import fill
from scripts.studies.table2 import SYSTEMS
from scripts.usage import UsageError


def run(seed: int, exact: float, **values: float) -> SeedRun:
    told = {"exact": Estimate(mean=exact, stderr=0.021, n=500)}
    return SeedRun(seed=seed, values=told | {k: Estimate(mean=v) for k, v in values.items()})


@pytest.fixture
def made() -> Record:
    several = (run(0, 0.664, net_calls=168.2), run(1, 0.74, net_calls=167.9), run(2, 0.646))
    return Record(
        title="made up",
        study="compare",
        source="run",
        commits=("0" * 40,),
        commands=("loopbench compare",),
        arms=(
            Arm(name="a, damped", parameters=110018, runs=several, summary={"cell": spread(0.91)}),
            Arm(name="b", runs=(run(0, 0.005, training_flops=2.35e12),)),
        ),
    )


def spread(mean: float) -> Spread:
    return Spread(mean=mean, sd=0.012, n=3)


@pytest.fixture
def results(tmp_path, made):
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "made-up.json").write_text(record_text(made))
    return folder


COLUMNS_ASKED = "model, parameters, seeds, cell, exact, each, n, training_tflop"
EXPECTED = """\
| model | parameters | seeds | cell % | exact % | exact %, each seed | n | training TFLOP |
| --- | --- | --- | --- | --- | --- | --- | --- |
| a, damped | 110,018 | 3 | 91.0 ± 1.2 | 68.3 ± 5.0 | 66.4, 74.0, 64.6 | 500 | - |
| b | - | 1, 1 collapsed | - | 0.5 ± 2.1 | 0.5 | 500 | 2.35 |
"""


def page(tmp_path, marker: str, body: str = "", end: str = "<!-- end -->\n"):
    path = tmp_path / "page.md"
    path.write_text(f"before\n\n{marker}\n{body}{end}\nafter\n")
    return path


def test_a_table_is_filled_and_the_rest_is_left(tmp_path, results, capsys):
    marker = f"<!-- table made-up: {COLUMNS_ASKED} -->"
    path = page(tmp_path, marker, "| typed | by hand |\n")
    asked = ["tables", str(path), "--results", str(results)]
    assert main([*asked, "--check"]) == 1
    assert f"{path}: made-up: differs" in capsys.readouterr().out
    assert "typed" in path.read_text(), "a check writes nothing"
    assert main(asked) == 0
    assert path.read_text() == f"before\n\n{marker}\n{EXPECTED}<!-- end -->\n\nafter\n"
    assert main([*asked, "--check"]) == 0
    assert main(asked) == 0
    path.write_text(path.read_text().replace("68.3", "68.4"))
    assert main([*asked, "--check"]) == 1, "one digit is a difference"


def test_rows_are_chosen_and_ordered(tmp_path, made):
    path = page(tmp_path, "<!-- table t: model; rows b | a, damped -->")
    text = fill(path, {"t": record_table(made)}).text
    assert text.index("| b |") < text.index("| a, damped |")
    path = page(tmp_path, "<!-- table t: model; rows b -->")
    assert "damped" not in fill(path, {"t": record_table(made)}).text


def test_a_summary_sets_arms_of_records_beside_one_another(made):
    lines = (Line("both", {"x": ("one", "a, damped"), "y": ("two", "b")}),)
    lines += (Line("one alone", {"y": ("two", "b")}),)
    summary = Summary({"what": "", "x": "X", "y": "Y"}, "exact", lines)
    table = summary_table(summary, dict.fromkeys(("one", "two"), record_table(made)))
    assert table.rows["both"] == {"what": "both", "x": "68.3 ± 5.0", "y": "0.5 ± 2.1"}
    assert table.rows["one alone"] == {"what": "one alone", "x": "-", "y": "0.5 ± 2.1"}
    assert summary.lacks(dict.fromkeys(("one", "two"), record_table(made))) is None


def test_a_summary_tells_what_it_lacks_where_a_page_asks_for_it(made, tmp_path, monkeypatch):
    lines = (Line("both", {"x": ("one", "a, damped"), "y": ("two", "renamed")}),)
    summary = Summary({"what": "", "x": "X", "y": "Y"}, "exact", lines)
    monkeypatch.setattr("scripts.commands.tables.SUMMARIES", {"short": summary})
    asks = page(tmp_path, "<!-- table short: x -->")
    for names, told in (
        (["one"], "no recorded result is called 'two'"),
        (["one", "two"], "'two' has no exact of 'renamed'"),
    ):
        with pytest.raises(UsageError, match=f"page.md:3: short cannot be filled: .*{told}"):
            fill(asks, tables_of(dict.fromkeys(names, made)))
    other = tables_of({"one": made})  # a page that asks for something else is filled
    assert fill(page(tmp_path, "<!-- table one: exact -->"), other).differing == ("one",)


def test_arms_of_several_tasks_are_columns(made):
    arms = tuple(
        a.model_copy(update={"name": "x", "of": t}) for a, t in zip(made.arms, "pq", strict=True)
    )
    table = record_table(made.model_copy(update={"arms": arms}))
    assert list(table.rows) == ["x"]
    assert table.rows["x"]["exact@p"] == "68.3 ± 5.0"
    assert table.rows["x"]["exact@q"] == "0.5 ± 2.1"
    assert table.headings["exact@q"] == "q: exact %"


def test_a_record_may_have_columns_of_its_own(made):
    first = made.arms[0].model_copy(update={"config": {"mixing": "0.5"}})
    columns = {
        "which": {"heading": "solver", "form": "name"},
        "mixing": {"heading": "mixing", "form": "config"},
        "net_calls": {"heading": "calls", "form": "number"},
        "cell": {"heading": "cells right", "form": "percent"},
    }
    content = made.model_dump() | {"columns": columns, "arms": [first, made.arms[1]]}
    table = record_table(Record.model_validate(content))
    assert [table.headings[key] for key in columns] == ["solver", "mixing", "calls", "cells right"]
    assert [table.rows["a, damped"][key] for key in columns] == [
        "a, damped",
        "0.5",
        "168",
        "91.0 ± 1.2",
    ]
    assert [table.rows["b"][key] for key in columns] == ["b", "-", "-", "-"]
    assert table.rows["b"]["exact"] == "0.5 ± 2.1", "the suite's own stay"


@pytest.mark.parametrize(
    ("marker", "end", "told"),
    [
        ("<!-- table nonesuch: model -->", "<!-- end -->\n", "page.md:3: no recorded result"),
        ("<!-- table made-up: model, exakt -->", "<!-- end -->\n", "did you mean exact?"),
        ("<!-- table made-up: model; rows c -->", "<!-- end -->\n", "no row is called 'c'"),
        ("<!-- table made-up -->", "<!-- end -->\n", "expected <!-- table NAME"),
        ("<!-- table made-up: model -->", "", "page.md:3: the table has no end"),
        (
            "<!-- table made-up: model -->\n<!-- table made-up: model -->",
            "<!-- end -->\n",
            "page.md:3: the table has no end",
        ),
    ],
)
def test_a_marker_that_is_wrong_is_told_with_its_line(marker, end, told, tmp_path, results, capsys):
    path = page(tmp_path, marker, end=end)
    before = path.read_text()
    assert main(["tables", str(path), "--results", str(results)]) == 2
    assert told in capsys.readouterr().err
    assert path.read_text() == before


def test_an_installed_package_has_no_pages_of_its_own(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("scripts.commands.tables.ROOT", tmp_path)
    assert main(["tables", "--check"]) == 2
    assert "name the pages" in capsys.readouterr().err


def test_a_file_that_is_no_record_is_told_with_its_place(tmp_path, results, capsys):
    (results / "wrong.json").write_text('{"format": 1, "title": "a"}')
    assert main(["claims", "--results", str(results)]) == 2
    assert "wrong.json: is no recorded result (study" in capsys.readouterr().err


def test_every_column_is_some_text_for_every_recorded_arm(made):
    for arm in made.arms:
        assert all(isinstance(column.cell(arm), str) for column in COLUMNS.values())


def test_the_pages_are_as_recorded(capsys):
    """Whoever changes a number of a page by hand, or a record, hears of it here."""
    assert main(["tables", "--check"]) == 0, capsys.readouterr().out
    assert {ROOT / "README.md", ROOT / "RESULTS.md", ROOT / "baselines/README.md"} <= {*pages()}
    assert "| claim of the paper |" in (ROOT / "RESULTS.md").read_text()
    words = (ROOT / "README.md").read_text().split("<!-- table claims-by-word")[1]
    numbers = re.findall(r"\((\d+)\)", words.split("<!-- end -->")[0])
    assert sorted(map(int, numbers)) == list(range(1, 15)), "the fourteen, each once"


def test_published_sizes_are_what_the_presets_count_and_table2_says():
    """A segment at full solver budget, on a device without memory: no solver can look at its
    residuals there, so that of the Attractor is counted from its gradient's steps alone."""
    grids = {"Sudoku-Extreme": ("sudoku", 9, 11), "Maze-Hard": ("maze", 30, 6)}
    said = {(s.preset_name("full"), k): v for s in SYSTEMS for k, v in s.published.items()}
    for arm in read_records()["published-sizes"].arms:
        (kind, size, tokens), name = grids[arm.of], arm.config["preset"]
        config = preset(name, kind)
        otherwise = config.model.model_copy(update=arm.config.get("model", {}))
        config = config.model_copy(update={"model": otherwise})
        shape = GridShape(size * size, tokens, 1, *puzzle_structure(kind, size))
        solver, gradient = config.model.solver_settings(), getattr(config.model, "gradient", None)
        with torch.device("meta"), torch.no_grad(), Meter() as meter:
            model = build_model(config, shape).eval()
            puzzle = torch.zeros(1, shape.cells, dtype=torch.int64)
            ids = torch.zeros(1, dtype=torch.int64)
            model.segment(model.initial_state(1), puzzle, ids, Depth(evaluations=solver and 0))
        steps = gradient.forward_steps if solver else 1
        evaluations = steps + (solver.max_evaluations if solver else 0)
        counted = 1e-9 * meter.flops * evaluations / steps
        assert arm.runs[0].values["gflop_segment"].mean == pytest.approx(counted)
        assert arm.parameters == parameter_count(model)
        if arm.name == name and (name, kind) in said:  # not with another paper's recipe
            published = said[name, kind]
            assert arm.published.get("exact") == pytest.approx(published and published / 100)


def test_what_others_report_is_what_table2_says():
    table = reported_table()
    told = {
        (row["puzzles"], row["model"], row["parameters"]): float(row["exact"])
        for row in table.rows.values()
        if row["source"] == "Solve the Loop, table 2"
    }
    sets = {"sudoku": "Sudoku-Extreme", "maze": "Maze-Hard"}
    loops = [s for s in SYSTEMS if s.name not in ("Transformer", "TRM-mlp")]
    assert told == {
        (puzzles, system.name, system.published_parameters): system.published[task]
        for task, puzzles in sets.items()
        for system in loops
    }
    assert len(table.rows) == sum(map(len, PUBLISHED.values())), "no two rows of one name"


def test_a_difference_is_of_the_arms_seeds_and_told_missing_ones(made):
    other = Arm(name="c", runs=(run(0, 0.564), run(1, 0.44), run(2, 0.446)))
    records = {"r": made.model_copy(update={"arms": (*made.arms, other)})}
    (row,) = recorded(records, [Pair("a less c", "r", "a, damped", "c")]).rows.values()
    # 0.1, 0.3, 0.2; see test_report
    assert (row["points"], row["interval"], row["seeds"]) == ("+20.0", "-4.8 to 44.8", "3")
    for pair in (Pair("", "none", "c", "b"), Pair("", "r", "a, damped", "d")):
        assert "has no seeds of" in recorded(records, [pair])


def test_every_difference_of_the_pages_is_of_three_seeds():
    table = recorded(read_records())
    assert {row["seeds"] for row in table.rows.values()} == {"3"}
    assert not any("paired" in row["interval"] for row in table.rows.values())
