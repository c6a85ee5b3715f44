"""Results in whose place others come are kept, and said to be."""

import json

from scripts.cli import main
from scripts.reports.earlier import keep_other_rows, set_aside
from scripts.studies.comparison import _scored_on


def test_a_file_and_what_belongs_to_it_take_the_first_free_number(tmp_path):
    for name in ("t.json", "t.md", "t-cost.png", "t-earlier-1.json", "other.md"):
        (tmp_path / name).write_text(name)
    kept = set_aside(tmp_path / "t.json", ".md", "-cost.png", "-grid.png")
    assert kept == tmp_path / "t-earlier-2.json"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "other.md",
        "t-earlier-1.json",
        "t-earlier-2-cost.png",
        "t-earlier-2.json",
        "t-earlier-2.md",
    ]
    assert (tmp_path / "t-earlier-2-cost.png").read_text() == "t-cost.png"


def test_a_table_is_set_aside_only_where_rows_would_be_lost(tmp_path, capsys):
    path = tmp_path / "comparison.json"
    keep_other_rows(path, dict.keys, ["a"])  # none is there
    path.write_text(json.dumps({"a": 1, "b": 2}))
    keep_other_rows(path, dict.keys, ["a", "b", "c"])
    assert path.exists()
    assert capsys.readouterr().out == ""
    keep_other_rows(path, dict.keys, ["a"])
    assert not path.exists()
    assert json.loads((tmp_path / "comparison-earlier-1.json").read_text()) == {"a": 1, "b": 2}
    assert "with b, is" in capsys.readouterr().out
    for n, text in ((2, "{"), (3, "[1]"), (4, "3")):
        path.write_text(text)
        keep_other_rows(path, dict.keys, ["a"])
        assert (tmp_path / f"comparison-earlier-{n}.json").read_text() == text


def test_rows_of_one_name_on_other_puzzles_are_other_rows(tmp_path, capsys):
    path = tmp_path / "comparison.json"
    path.write_text(json.dumps({"a": {"data": "here"}, "b": {"data": "here"}}))
    keep_other_rows(path, _scored_on, [("a", "here"), ("b", "there")])
    assert (tmp_path / "comparison-earlier-1.json").exists()
    assert "with b, is" in capsys.readouterr().out


def test_a_comparison_of_other_models_keeps_the_table_before(sudokus, tmp_path, capsys):
    out = tmp_path / "table"
    for presets in ("trm-mini", "transformer-mini", "trm-mini,transformer-mini"):
        words = ["--data", str(sudokus), "--seeds", "1", "--steps", "2", "--out", str(out)]
        assert main(["compare", "--presets", presets, *words]) == 0
    assert [*json.loads((out / "comparison-earlier-1.json").read_text())] == ["trm-mini"]
    assert "trm-mini" in (out / "comparison-earlier-1.md").read_text()
    now = [*json.loads((out / "comparison.json").read_text())]
    assert now == ["trm-mini", "transformer-mini"]
    assert not (out / "comparison-earlier-2.json").exists()
    assert "the table that lay there, with trm-mini, is" in capsys.readouterr().out
