"""`loopbench runs`: every run under a folder, whatever its state."""

import json
import shutil

import pytest

from reasoning.training.loop import Trainer
from scripts.cli import main
from scripts.reports.curves import run_curve
from scripts.runs.described import describe_run
from scripts.studies.beginnings import trained_before


def rewrite(run, name, change):
    record = json.loads((run / name).read_text())
    change(record)
    (run / name).write_text(json.dumps(record))


@pytest.fixture
def runs(trained, sudokus, tmp_path, dies_at):
    """A finished run, one that was killed, one without a checkpoint, an imported and a broken one,
    two of language."""
    folder = tmp_path / "all"
    finished = folder / "a" / "finished"
    shutil.copytree(trained, finished)
    best = {"split": "test", "step": 15, "exact": {"mean": 0.75, "stderr": 0.1, "n": 20}}
    lines = (finished / "metrics.jsonl").read_text().splitlines()
    (finished / "metrics.jsonl").write_text("\n".join([json.dumps(best), *lines]) + "\n")
    killed = folder / "killed"
    words = ["train", "--preset", "trm-mini", "--data", str(sudokus), "--out", str(killed)]
    with dies_at(Trainer, 7):
        main([*words, "--steps", "20", "--checkpoint-every", "5", "--device", "cpu"])
    shutil.copytree(killed, folder / "begun")
    shutil.rmtree(folder / "begun" / "checkpoints")
    shutil.copytree(trained, folder / "imported")
    rewrite(folder / "imported", "config.json", lambda record: record["config"].update(data=""))
    shutil.copytree(trained, folder / "broken")
    (folder / "broken" / "metrics.jsonl").write_text("no record\n")
    (folder / "nothing").mkdir()
    text = folder / "text"
    text.mkdir()
    config = {"preset": "attractor-mini", "seed": 3, "steps": 8}
    record = {"config": config, "tokenizer": "t", "corpus": "c"}
    (text / "config.json").write_text(json.dumps(record))
    own = [
        {"split": "validation", "step": step, "max_evaluations": most, "loss": loss, "stderr": 0.1}
        for step, most, loss in ((2, None, 3.0), (4, None, 2.5), (4, 0, 1.0), (6, None, 2.75))
    ]
    own.append({"split": "validation", "step": 8, "max_evaluations": None, "loss": None})
    own.append({"split": "jacobian", "step": 8, "norm": 1.0})
    said = "".join(json.dumps({"tokens": 128} | line) + "\n" for line in own)
    (text / "metrics.jsonl").write_text(said)
    return folder


def test_every_run_is_listed_with_its_state_and_best_number(runs, capsys):
    assert main(["runs", str(runs), "--json"]) == 1  # one cannot be read
    found = {row["run"].rpartition("/")[2]: row for row in json.loads(capsys.readouterr().out)}
    states = {name: row["state"] for name, row in found.items()}
    assert states == {
        "finished": "finished",
        "killed": "stopped",
        "begun": "begun",
        "imported": "imported",
        "broken": "unreadable",
        "text": "begun",
    }
    assert found["finished"]["best"] == {
        "name": "exact",
        "step": 15,
        "value": 0.75,
        "stderr": 0.1,
        "n": 20,
    }
    assert found["finished"]["last"]["step"] == 20
    assert (found["finished"]["task"], found["text"]["task"]) == ("sudoku 4x4", "language")
    assert (found["killed"]["step"], found["killed"]["steps"]) == (5, 20)
    assert found["killed"]["best"] is None
    # Of text the least loss at the model's own budget; a loss that is no number is none.
    best = found["text"]["best"]
    assert (best["step"], best["value"], best["n"]) == (4, 2.5, 128)
    assert found["text"]["last"]["value"] == 2.75
    assert "line 1 is no record" in found["broken"]["reason"]


def test_the_table_names_them_all(runs, capsys):
    assert main(["runs", str(runs)]) == 1
    said = capsys.readouterr().out
    for part in (
        "a/finished",
        "killed",
        "5 of 20",
        "75.0 ± 10.0 % (n 20)",
        "2.500 nats",
        "line 1 is no",
    ):
        assert part in said


def test_weights_that_were_not_trained_here_are_told_as_that(runs, trained, stand_in, capsys):
    assert main(["push", str(trained), "me/it"]) == 0
    shutil.copytree(stand_in / "model" / "me" / "it", runs / "fetched")
    shutil.rmtree(runs / "broken")
    capsys.readouterr()
    assert main(["runs", str(runs)]) == 0
    lines = {
        line.split()[1]: line for line in capsys.readouterr().out.splitlines() if "seed" in line
    }
    assert "files of the hub" in lines["fetched"]
    assert "20 of 20" in lines["fetched"]
    assert "imported weights" in lines["imported"]
    assert " of 20" not in lines["imported"]
    assert main(["runs", str(runs), "--json"]) == 0
    found = {row["run"].rpartition("/")[2]: row for row in json.loads(capsys.readouterr().out)}
    assert (found["fetched"]["state"], found["fetched"]["step"]) == ("pulled", 20)
    assert (found["imported"]["state"], found["imported"]["step"]) == ("imported", None)
    (runs / "fetched" / "loopbench.json").write_text("{")
    assert main(["runs", str(runs)]) == 1
    assert "unreadable" in capsys.readouterr().out


def test_a_run_is_the_one_run_in_its_folder(trained, capsys):
    assert main(["runs", str(trained)]) == 0
    assert trained.name in capsys.readouterr().out


def test_a_folder_without_runs_is_refused(tmp_path, capsys):
    assert main(["runs", str(tmp_path)]) == 2
    assert "holds no runs" in capsys.readouterr().err
    assert main(["runs", str(tmp_path / "gone")]) == 2
    assert "no such folder" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["runs", str(tmp_path / "file")]) == 2
    assert "not a folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["[red]a", "[", "a[/b]", ":boom:"])
def test_a_run_is_called_as_its_folder_is(trained, tmp_path, capsys, name):
    shutil.copytree(trained, tmp_path / "of" / name)
    assert main(["runs", str(tmp_path)]) == 0
    assert f"of/{name}" in capsys.readouterr().out


def test_a_config_that_is_none_is_told(tmp_path):
    (tmp_path / "config.json").write_text('{"grid": 3, "config": []}')
    assert describe_run(tmp_path)["state"] == "unreadable"


def test_curves_of_a_run_follow_those_it_began_with(trained, sudokus, tmp_path, capsys):
    """Its minutes and FLOPs come on top of those of the other, up to the step it took."""
    folder = tmp_path / "all"
    shutil.copytree(trained, folder / "one")
    words = ["train", "--preset", "attractor-mini", "--data", str(sudokus), "--device", "cpu"]
    words += ["--steps", "5", "--start", str(folder / "one"), "--out", str(folder / "two")]
    assert main(words) == 0
    timing = [json.loads(t) for t in (folder / "one" / "timing.jsonl").read_text().splitlines()]
    seconds = sum(t["seconds"] for t in timing if t["split"] == "train")
    flops = sum(t["flops"] for t in timing if t["split"] == "train")
    first = run_curve("two", folder / "two").loss[0]
    own = json.loads((folder / "two" / "timing.jsonl").read_text().splitlines()[0])
    assert first.minutes == pytest.approx((seconds + own["seconds"]) / 60)
    assert first.tflop == pytest.approx((flops + own["flops"]) / 1e12)
    assert main(["runs", str(folder), "--curves", str(tmp_path / "curves.png")]) == 0
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    shutil.rmtree(folder / "one")
    capsys.readouterr()
    assert main(["runs", str(folder), "--curves", str(tmp_path / "curves.png")]) == 2
    assert "no longer there" in capsys.readouterr().err
    assert main(["runs", str(folder), "--curves", str(tmp_path / "curves.svg")]) == 2
    assert "name a PNG file" in capsys.readouterr().err


@pytest.fixture
def chain(trained, tmp_path):
    """Three runs, each named as it was from their folder: c began with b, which began with a."""
    folder = tmp_path / "chain"
    for name, start in (("a", None), ("b", "a"), ("c", "b")):
        shutil.copytree(trained, folder / name)
        if start:
            begun = {"run": start, "step": 20}
            rewrite(folder / name, "config.json", lambda r, b=begun: r.update(started_from=b))
    return folder


def test_curves_find_starts_from_any_folder_and_add_them_up(chain):
    once, thrice = (run_curve("x", chain / name).loss[-1] for name in "ac")
    assert thrice.minutes == pytest.approx(3 * once.minutes)
    assert thrice.tflop == pytest.approx(3 * once.tflop)


def test_a_comparison_counts_what_the_starts_took(chain, sudokus, capsys):
    """As their curves do; a dash where a start is gone, and runs begun otherwise are apart."""
    words = ["compare", *(str(chain / name) for name in "ac"), "--data", str(sudokus)]
    words += ["--device", "cpu", "--out", str(chain / "compared")]
    assert main(words) == 0
    groups = json.loads((chain / "compared" / "comparison.json").read_text())
    once, thrice = groups.values()
    for name in ("flops", "seconds", "net_calls"):
        took = once[f"training_{name}"]["mean"]
        assert thrice[f"training_{name}"]["mean"] == pytest.approx(3 * took)
    assert thrice["training_bytes"] == once["training_bytes"]
    assert [name.split(" ", 1)[1] for name in groups] == ["from the start", "after 20 steps"]
    shutil.rmtree(chain / "b")
    assert main(words) == 0
    groups = json.loads((chain / "compared" / "comparison.json").read_text())
    assert [group["training_flops"] is None for group in groups.values()] == [False, True]
    capsys.readouterr()


def test_runs_that_began_with_other_weights_are_no_seeds_of_one_another(chain, sudokus):
    """Seeds of one recipe share a row though each began with weights of its own."""

    def compared():
        words = ["compare", str(chain / "b"), str(chain / "e"), "--data", str(sudokus)]
        assert main([*words, "--device", "cpu", "--out", str(chain / "compared")]) == 0
        return json.loads((chain / "compared" / "comparison.json").read_text())

    for name, change in (("d", {"seed": 5}), ("e", {"seed": 6})):
        shutil.copytree(chain / ("a" if name == "d" else "b"), chain / name)
        rewrite(chain / name, "config.json", lambda r, c=change: r["config"].update(c))
    rewrite(chain / "e", "config.json", lambda r: r["started_from"].update(run="d"))
    (group,) = compared().values()
    assert len(group["runs"]) == 2
    rewrite(chain / "d", "config.json", lambda r: r["config"].update(hints=2))
    names = [*compared()]
    assert len(names) == 2
    assert all(" begun with " in name and "after" not in name for name in names)
    before = [trained_before(chain / name) for name in "ab"]
    assert before[0] == []
    assert before[1][0]["step"] == 20
    shutil.rmtree(chain / "a")
    assert trained_before(chain / "b") == [{"step": 20}]


def test_what_came_before_stays_where_a_start_had_logged_nothing(chain):
    rewrite(chain / "c", "config.json", lambda r: r["started_from"].update(step=1))
    once, later = (run_curve("x", chain / name).loss[-1] for name in "ac")
    assert later.minutes == pytest.approx(2 * once.minutes)


def test_a_cycle_of_starts_is_told_and_left_out(chain, tmp_path, capsys):
    rewrite(chain / "a", "config.json", lambda r: r.update(started_from={"run": "c", "step": 20}))
    picture = tmp_path / "curves.png"
    assert main(["runs", str(chain), "--curves", str(picture)]) == 2
    assert "one was written over" in capsys.readouterr().err


def test_curves_leave_out_what_cannot_be_drawn_and_say_so(runs, tmp_path, capsys):
    (runs / "imported" / "timing.jsonl").unlink()
    (runs / "begun" / "timing.jsonl").write_text('{"step": 5}\n')
    lost = {"run": "lost", "step": 20}
    rewrite(runs / "killed", "config.json", lambda record: record.update(started_from=lost))
    picture = tmp_path / "curves.png"
    assert main(["runs", str(runs), "--curves", str(picture)]) == 1
    said = capsys.readouterr().err
    for part in ("imported/timing.jsonl", "begun: not as", "began with lost"):
        assert part in said
    assert picture.is_file()


def test_a_picture_in_no_folder_is_refused_at_once(trained, tmp_path, capsys):
    assert main(["runs", str(trained), "--curves", str(tmp_path / "no" / "c.png")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_a_run_that_one_stands_in_has_its_name(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(shutil.copytree(trained, tmp_path / "within"))
    assert main(["runs", "."]) == 0
    assert "within" in capsys.readouterr().out
