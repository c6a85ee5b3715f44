"""Which grids a preset's token mixer serves: those small enough, whatever their puzzle."""

import pytest

from puzzles import sources
from puzzles.dataset import write_dataset
from scripts.cli import main
from scripts.models.labels import label
from scripts.models.presets import preset, preset_names
from scripts.runs.recorded import load_config


def words(name, data, out):
    return ["train", "--preset", name, "--data", str(data), "--out", str(out), "--device", "cpu"]


@pytest.mark.parametrize("name", ["trm-mlp-mini", "attractor-speed-mini"])
def test_small_mazes_are_mixed(name, mazes, tmp_path):
    run = tmp_path / "run"
    assert main([*words(name, mazes, run), "--steps", "2", "--log-every", "2"]) == 0
    config, grid = load_config(run)
    assert (config.model.mixer, grid["cells"]) == ("mlp", 49)
    assert label(config, "maze", 49) == name  # as a comparison calls it
    assert config.model == preset(name, "maze", 49).model


def test_large_mazes_are_refused_by_their_cells(tmp_path, capsys):
    large, out = tmp_path / "maze23", tmp_path / "run"
    write_dataset(large, *sources.maze("unique", 23, train=2, test=1, seed=0))
    for model in ("trm-mlp", "trm-mlp-speed"):
        assert main(words(f"{model}-mini", large, out)) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        for part in (f"{model} ", "at most 512", "have 529", "trm-mini"):
            assert part in said
    assert not out.exists()
    assert main(["compare", "--presets", "trm-mlp-mini", "--data", str(large), "--out", str(out)])
    assert "have 529" in capsys.readouterr().err


def test_without_a_grid_at_hand_the_published_ones_decide():
    assert preset("trm-mlp-7m") == preset("trm-mlp-7m", "sudoku", 81)
    assert preset("attractor-speed-7m").model.mixer == "mlp"
    assert preset("attractor-speed-7m", "maze").model.mixer == "attention"
    assert preset("transformer-mlp-7m", "maze", 512).model.mixer == "mlp"
    with pytest.raises(ValueError, match="these have 900: use transformer-7m"):
        preset("transformer-mlp-7m", "maze")


def test_stages_are_those_of_the_rows_of_the_published_sets():
    """The recipes that a CPU trained them by (RESULTS): nets with a field for each digit stay
    shallow for longer; mazes have no fields."""

    def stages(name: str, puzzle: str) -> list[tuple[float, int]]:
        return [(s.until, s.segments) for s in preset(name, puzzle).supervision.curriculum]

    assert stages("attractor-digits-1m", "sudoku") == [(0.15, 1), (0.4, 2), (0.8, 4), (1.0, 8)]
    assert stages("trm-digits-1m", "sudoku") == stages("attractor-digits-1m", "sudoku")
    assert stages("attractor-axial-1m", "sudoku") == [(0.05, 1), (0.2, 2), (0.8, 4), (1.0, 8)]
    assert stages("attractor-digits-1m", "maze") == [(0.1, 1), (0.3, 2), (0.6, 4), (1.0, 8)]
    assert stages("trm-axial-1m", "maze") == stages("attractor-digits-1m", "maze")


@pytest.mark.parametrize(("cells", "batch"), [(36, 64), (144, 32), (900, 8), (2500, 8)])
def test_batches_of_large_mazes_are_smaller(cells, batch):
    """Those of Maze-Hard's rows (RESULTS): 32 of 12x12, 8 of 30x30."""
    assert preset("attractor-axial-1m", "maze", cells).batch == batch
    assert preset("trm-digits-1m", "maze", cells).batch == batch
    assert preset("attractor-axial-1m", "sudoku", 81).batch == 64


def test_no_preset_shows_hints():
    """One comparison shows every model the same questions: who wants hints asks for them."""
    assert {preset(name).hints for name in preset_names()} == {0}
