"""Results as records: what commands write is taken whole, the committed ones are sound."""

import json
import shutil
import statistics
import threading

import pytest
from pydantic import ValidationError

from scripts.cli import main
from scripts.reports.record_table import COLUMNS
from scripts.reports.records import (
    Arm,
    Estimate,
    Record,
    SeedRun,
    Spread,
    read_record,
    read_records,
    record_text,
)
from scripts.runs.selection import RULES
from scripts.studies.language.costs import FIGURE_4
from scripts.terminal.locks import held


@pytest.fixture(scope="module")
def typed():
    """The tests' own words stand in for those of a command line, however they are run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["loopbench", "words"])
        yield


@pytest.fixture(scope="module")
def compared(tmp_path_factory, typed):
    """A folder of `compare` on the smallest puzzles: two models, two seeds."""
    folder = tmp_path_factory.mktemp("record")
    sizes = ["--size", "4", "--train", "24", "--test", "8", "--out", str(folder / "data")]
    assert main(["data", "sudoku", *sizes]) == 0
    asked = ["--presets", "trm-mini,transformer-mini", "--data", str(folder / "data")]
    asked += ["--seeds", "2", "--steps", "2", "--device", "cpu", "--out", str(folder / "table")]
    assert main(["compare", *asked]) == 0
    return folder / "table"


COMMAND = "loopbench compare --presets trm-mini,transformer-mini --data data --seeds 2"


def record(path, tmp_path, *more: str) -> Record:
    given = ["--name", "made", "--into", str(tmp_path), "--command", COMMAND]
    assert main(["record", str(path), *given, *more]) == 0
    return read_record(tmp_path / "made.json")


def test_a_comparison_is_recorded_whole(compared, tmp_path):
    made = record(compared / "comparison.json", tmp_path, "--title", "two models")
    groups = json.loads((compared / "comparison.json").read_text())
    assert (made.title, made.study, made.scale) == ("two models", "compare", "mini")
    assert made.commands == (COMMAND,)
    assert made.data == "4x4 sudoku, 8 held out"
    environment = json.loads((compared / "trm-mini-seed0/environment.json").read_text())
    assert made.commits == (environment["commit"],)
    assert made.machines == (environment["cpu"],)
    assert made.dates[0] == environment["date"]
    for name, group in groups.items():
        arm = made.arm(name)
        assert arm.parameters == group["parameters"]
        assert arm.config["steps"] == 2
        assert "seed" not in arm.config
        assert [run.seed for run in arm.runs] == [0, 1]
        for column, said in (
            ("exact", group["metrics"]["exact"]),
            ("cell", group["metrics"]["cell"]),
            ("halted_exact", group["halted_exact"]),
            ("halted_net_calls", group["halted_net_calls_per_puzzle"]),
            ("net_calls", group["net_calls_per_puzzle"]),
            ("flops_per_puzzle", group["flops_per_puzzle"]),
            ("training_seconds", group["training_seconds"]),
            ("training_flops", group["training_flops"]),
        ):
            assert arm.by_seed(column).keys() == {0, 1}, column
            spread = arm.spread(column)
            assert (spread.mean, spread.sd) == pytest.approx((said["mean"], said["sd"]))
        first = group["runs"][0]["exact"]
        assert arm.runs[0].values["exact"] == Estimate(**first)


def test_runs_are_found_where_the_folder_was_moved_to(compared, tmp_path):
    shutil.copytree(compared, tmp_path / "moved")
    groups = json.loads((compared / "comparison.json").read_text())
    for group in groups.values():
        for run in group["runs"]:
            run["run"] = "/nowhere/table/" + run["run"].rsplit("/", 1)[1]
    (tmp_path / "moved/comparison.json").write_text(json.dumps(groups))
    made = record(tmp_path / "moved/comparison.json", tmp_path)
    assert all(arm.config for arm in made.arms)


def test_what_made_a_result_has_to_be_known(compared, tmp_path, capsys):
    alone = tmp_path / "comparison.json"
    text = (compared / "comparison.json").read_text()
    alone.write_text(text.replace(str(compared), "/nowhere"))
    given = ["--name", "made", "--into", str(tmp_path), "--command", COMMAND]
    assert main(["record", str(alone), *given]) == 2
    assert "the commit that made it is not known" in capsys.readouterr().err
    assert not (tmp_path / "made.json").exists()


def test_an_evaluation_is_recorded(compared, tmp_path):
    run = compared / "trm-mini-seed0"
    data = str(compared.parent / "data")
    assert main(["evaluate", str(run), "--data", data, "--device", "cpu"]) == 0
    said = json.loads((run / "evaluation-data.json").read_text())
    made = record(run / "evaluation-data.json", tmp_path)
    (arm,) = made.arms
    assert (made.study, made.data, arm.name) == ("evaluate", "data, test", "trm-mini")
    assert arm.runs[0].values["exact"] == Estimate(**said["metrics"]["exact"])
    assert arm.spread("net_calls").mean == said["net_calls_per_puzzle"]


LABELS = ["net=TRM", "asked=1 segment"]


@pytest.fixture(scope="module")
def evaluated(compared):
    """What `evaluate` wrote of two seeds of TRM, and of the Transformer."""
    data, files = str(compared.parent / "data"), []
    for run in ("trm-mini-seed0", "trm-mini-seed1", "transformer-mini-seed0"):
        out = compared.parent / f"scored-{run}"
        words = ["evaluate", str(compared / run), "--data", data, "--device", "cpu"]
        assert main([*words, "--segments", "1", "--out", str(out)]) == 0
        (file,) = out.glob("*.json")
        files.append(file)
    return files


def gather(tmp_path, files, labels, *more: str) -> int:
    given = ["--name", "gathered", "--into", str(tmp_path), *more]
    told = [word for text in labels for word in ("--label", text)]
    return main(["record", *map(str, files), *given, *told])


def test_evaluations_of_seeds_are_an_arm_that_tells_what_made_it(compared, evaluated, tmp_path):
    assert gather(tmp_path, evaluated[1::-1], LABELS) == 0
    made = read_record(tmp_path / "gathered.json")
    (arm,) = made.arms
    assert arm.name == "TRM: 1 segment"
    assert [run.seed for run in arm.runs] == [0, 1]
    for run, file in zip(arm.runs, evaluated, strict=False):
        said = json.loads(file.read_text())
        assert run.values["exact"] == Estimate(**said["metrics"]["exact"])
        timing = (compared / f"trm-mini-seed{run.seed}/timing.jsonl").read_text().splitlines()
        took = [line for line in map(json.loads, timing) if line["split"] == "train"]
        for column in ("seconds", "flops"):
            total = sum(line[column] for line in took)
            assert run.values[f"training_{column}"].mean == pytest.approx(total)
    assert (arm.config["segments"], arm.config["run"]["steps"]) == (1, 2)
    environment = json.loads((compared / "trm-mini-seed0/environment.json").read_text())
    assert arm.origin.commits == (environment["commit"],)
    assert arm.origin.dates[0] == environment["date"]
    assert arm.origin.commands


def test_two_commands_that_gather_one_record_both_add_to_it(evaluated, tmp_path):
    """The second reads what the first wrote, and not what was there when it began."""
    assert gather(tmp_path, evaluated[:1], LABELS) == 0
    place, ends = tmp_path / "gathered.json", []
    with held(place):  # as the first command does
        other = [LABELS[0], "asked=by another command"]
        second = threading.Thread(
            target=lambda: ends.append(gather(tmp_path, evaluated[1:2], other))
        )
        second.start()
        second.join(1.0)
        assert second.is_alive()
        first = read_record(place)
        added = first.arms[0].model_copy(update={"name": "the first's"})
        place.write_text(record_text(first.model_copy(update={"arms": (*first.arms, added)})))
    second.join(60)
    assert ends == [0]
    assert [arm.name for arm in read_record(place).arms][1] == "the first's"
    assert len(read_record(place).arms) == 3


def test_a_record_gains_arms_and_keeps_what_it_had(evaluated, tmp_path, capsys):
    assert gather(tmp_path, evaluated[:1], LABELS) == 0
    path = tmp_path / "gathered.json"
    first = read_record(path)
    reported = first.arms[0].model_copy(update={"reported": {"theirs": 1.0}})
    path.write_text(record_text(first.model_copy(update={"arms": (reported,)})))
    assert gather(tmp_path, evaluated[2:], ["net=one pass", "asked=1 segment"]) == 0
    both = read_record(path)
    assert both.arms[0] == reported
    assert [arm.name for arm in both.arms] == ["TRM: 1 segment", "one pass: 1 segment"]
    assert both.commits == first.commits

    kept = path.read_bytes()
    for labels, told in (
        (LABELS, "--replace"),
        (["kind=TRM", *LABELS], "has no column kind of texts; it has net, asked"),
        (LABELS[:1], "its arms have --label asked=... too"),
    ):
        assert gather(tmp_path, evaluated[:2], labels) == 2
        assert told in capsys.readouterr().err
    given = ["--name", "gathered", "--into", str(tmp_path), "--command", COMMAND, "--replace"]
    assert main(["record", str(evaluated[0]), *given]) == 2
    assert "--label gathered its arms" in capsys.readouterr().err
    assert path.read_bytes() == kept
    assert gather(tmp_path, evaluated[:2], LABELS[::-1], "--replace") == 0
    assert "seeds 0, 1 in place of 1; 2 arms in all" in capsys.readouterr().out.replace("\n", " ")
    arm, other = read_record(path).arms
    assert (arm.seeds, arm.reported, other) == (2, {"theirs": 1.0}, both.arms[1])
    assert arm.name == "TRM: 1 segment"  # as the record's columns are ordered


@pytest.mark.parametrize(
    ("chosen", "labels", "told"),
    [
        ((0, 2), LABELS, "preset transformer-mini, not trm-mini as of"),
        ((0, 0), LABELS, "is of seed 0, as"),
        ((0,), ["TRM"], "COLUMN=TEXT"),
        ((0,), ["net=TRM", "net=HRM"], "given twice"),
        ((0,), ["exact=TRM"], "none that every table has"),
        ((0,), ["run=TRM"], "none that every table has"),
        ((0,), ["net=TRM|HRM"], "of one line without |"),
    ],
)
def test_what_is_no_arm_is_refused(chosen, labels, told, evaluated, tmp_path, capsys):
    assert gather(tmp_path, [evaluated[i] for i in chosen], labels) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "gathered.json").exists()


def test_only_evaluations_are_gathered(compared, evaluated, tmp_path, capsys):
    assert gather(tmp_path, [compared / "comparison.json"], LABELS) == 2
    assert "--label is for what evaluate wrote" in capsys.readouterr().err
    assert main(["record", *map(str, evaluated[:2]), "--name", "x", "--into", str(tmp_path)]) == 2
    assert "one file makes a record" in capsys.readouterr().err


def test_a_command_is_given_where_no_file_tells_one(evaluated, tmp_path, capsys):
    assert gather(tmp_path, evaluated[:1], LABELS, "--command", COMMAND) == 2
    assert "tells the command that made it" in capsys.readouterr().err
    untold = json.loads(evaluated[0].read_text())["environment"] | {"command": ["-c"]}
    file = changed(evaluated[0], tmp_path, environment=untold, run=str(tmp_path / "gone"))
    assert gather(tmp_path, [file], LABELS) == 2
    assert "the command that made it is not known" in capsys.readouterr().err
    assert gather(tmp_path, [file], LABELS, "--command", COMMAND) == 0
    (arm,) = read_record(tmp_path / "gathered.json").arms
    assert arm.origin.commands == (COMMAND,)


def changed(file, tmp_path, **keys):
    """A copy of an evaluation in which these keys are otherwise; None: without it."""
    content = json.loads(file.read_text()) | keys
    path = tmp_path / f"changed{len(list(tmp_path.iterdir()))}.json"
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
    return path


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data", "other"),
        ("split", "train"),
        ("step", 1),
        ("puzzles", 4),
        ("evaluations", 3),
        ("puzzles_sha256", "of others"),
        ("activations", "bf16"),
    ],
)
def test_seeds_of_an_arm_differ_in_nothing_else(key, value, evaluated, tmp_path, capsys):
    other = changed(evaluated[1], tmp_path, **{key: value})
    assert gather(tmp_path, [evaluated[0], other], LABELS) == 2
    assert f"{other}: {key} {value}, not" in capsys.readouterr().err.replace("\n", "")
    again = changed(evaluated[0], tmp_path)
    assert gather(tmp_path, [evaluated[0], again], LABELS) == 2
    assert f"{again}: is of seed 0, as {evaluated[0]} is" in capsys.readouterr().err
    cut = changed(evaluated[0], tmp_path, selection={})
    assert gather(tmp_path, [cut], LABELS) == 2
    assert f"{cut}: lacks 'halt-first'" in capsys.readouterr().err


def test_the_cost_is_of_the_run_that_was_evaluated(compared, evaluated, tmp_path, capsys):
    """A folder of its name may hold another by now, and none be there."""
    for folder, told in (("trm-mini-seed1", "holds another run"), ("gone", "was not there")):
        file = changed(evaluated[0], tmp_path, run=str(compared / folder))
        assert gather(tmp_path, [file], LABELS, "--replace") == 0
        assert told in capsys.readouterr().out
        (arm,) = read_record(tmp_path / "gathered.json").arms
        assert "training_seconds" not in arm.runs[0].values
        assert told in arm.notes[0]


def test_a_run_s_cost_and_origin_are_those_it_began_with_too(compared, evaluated, tmp_path, capsys):
    for name in ("first", "on"):
        shutil.copytree(compared / "trm-mini-seed0", tmp_path / name)
    began = json.loads((tmp_path / "first/environment.json").read_text()) | {"commit": "b" * 40}
    (tmp_path / "first/environment.json").write_text(json.dumps(began))
    config = json.loads((tmp_path / "on/config.json").read_text())
    begun = config | {"started_from": {"run": "first", "step": 2}}
    (tmp_path / "on/config.json").write_text(json.dumps(begun))
    file = changed(evaluated[0], tmp_path, run=str(tmp_path / "on"))
    assert gather(tmp_path, evaluated[:1], LABELS) == 0
    (alone,) = read_record(tmp_path / "gathered.json").arms
    assert gather(tmp_path, [file], LABELS, "--replace") == 0
    (arm,) = read_record(tmp_path / "gathered.json").arms
    assert "b" * 40 in arm.origin.commits
    for column in ("training_seconds", "training_flops"):
        once = alone.runs[0].values[column].mean
        assert arm.runs[0].values[column].mean == pytest.approx(2 * once)

    shutil.rmtree(tmp_path / "first")
    assert gather(tmp_path, [file], LABELS, "--replace") == 0
    assert "What training took is not known" in capsys.readouterr().out
    (arm,) = read_record(tmp_path / "gathered.json").arms
    assert "training_seconds" not in arm.runs[0].values
    assert str(tmp_path) not in " ".join(arm.notes)


def test_a_record_tells_the_versions_of_all_its_arms(evaluated, tmp_path):
    first, other = (json.loads(file.read_text())["environment"] for file in evaluated[::2])
    for environment, packages in ((first, {"torch": "1", "numpy": "2"}), (other, {"torch": "3"})):
        environment |= {"packages": packages}
    for file, environment, net in zip(evaluated[::2], (first, other), ("a", "b"), strict=True):
        gone = str(tmp_path / "gone")
        one = changed(file, tmp_path, environment=environment, run=gone)
        assert gather(tmp_path, [one], [f"net={net}"]) == 0
    versions = read_record(tmp_path / "gathered.json").versions
    assert versions == {"python": first["python"], "torch": "1, 3", "numpy": "2"}


def test_every_rule_of_selection_has_its_columns():
    for rule in RULES:
        assert {f"exact_by_{rule}", f"net_calls_by_{rule}"} <= COLUMNS.keys()


def test_depth_and_choice_among_candidates_are_recorded(compared, tmp_path):
    run, data = str(compared / "trm-mini-seed0"), str(compared.parent / "data")
    words = ["--data", data, "--symmetries", "2", "--segments", "4", "--leave", "never"]
    assert main(["evaluate", run, *words, "--device", "cpu", "--out", str(tmp_path)]) == 0
    (file,) = tmp_path.glob("*.json")
    said = json.loads(file.read_text())
    values = record(file, tmp_path).arms[0].runs[0].values
    for segment in (1, 2, 4):
        scored = said["by_segment"][segment - 1]
        assert scored["segment"] == segment
        assert values[f"exact_after_{segment}"].mean == scored["exact"]
    assert "exact_after_3" not in values
    for rule, chosen in said["selection"].items():
        assert values[f"exact_by_{rule}"].mean == chosen["metrics"]["exact"]["mean"]
        assert values[f"net_calls_by_{rule}"].mean == chosen["net_calls_per_puzzle"]["mean"]


def test_difficulty_confidence_and_rest_are_recorded_where_starts_ran_on(evaluated, tmp_path):
    rates = {"share": [0.25, 0.5], "n": [1, 0], "wrong": [1.0, None], "stderr": [0.0, None]}
    said = json.loads(evaluated[0].read_text())
    bins = [{"metrics": {"exact": {"mean": m, "stderr": 0.1, "n": 2}}} for m in (0.5, 0.25)]
    area = {"area": {"mean": 0.2, "stderr": 0.1, "n": 4}}
    scores = {
        "residual": {"auroc": {"mean": 0.75, "stderr": None, "n": 4}, "risk_coverage": area},
        "halting score": {"auroc": None, "risk_coverage": area},
    }
    told = {
        "by_difficulty": {"name": "guesses", "bins": bins},
        "abstention": scores,
        "at_rest": {"residual": 1e-3, "breadths": [1, 2], "puzzles": 4}
        | {"by": {"residual": {"at_rest": rates}}},
    }

    def values(**search):
        asked = said["search"] | {"until_claimed": False, "leave": None} | search
        file = changed(evaluated[0], tmp_path, **told, search=asked)
        return record(file, tmp_path, "--replace").arms[0].runs[0].values

    ran_on = values(leave=1e-3)
    assert [ran_on[f"exact_in_bin_{n}"].mean for n in (1, 2)] == [0.5, 0.25]
    assert ran_on["auroc_residual"].mean == 0.75
    assert "auroc_halting" not in ran_on
    assert ran_on["risk_area_halting"].stderr == 0.1
    assert [ran_on[f"at_rest_{n}"].mean for n in (1, 2)] == [0.25, 0.5]
    assert (ran_on["spurious_1"].mean, ran_on["spurious_1"].n) == (1, 1)
    assert "spurious_2" not in ran_on
    for search in ({"leave": 0.008}, {"until_claimed": True}):
        left = values(**search)  # with the residual that it left with
        assert "risk_area_halting" in left
        assert "risk_area_residual" not in left
        assert not {"auroc_residual", "at_rest_1", "spurious_1"} & left.keys()


def test_a_judges_search_is_recorded_by_its_calls_beside_its_control(evaluated, tmp_path):
    def curve(*means):
        return {"mean": list(means), "stderr": [0.1, 0.2]}

    nets = {
        "trained": {"exact": curve(0.5, 1.0), "net_calls": curve(4, 6)},
        "untrained": {"exact": curve(0.0, 0.25), "net_calls": curve(4, 8)},
    }
    file = changed(evaluated[0], tmp_path, judged={"budgets": [1, 2], "n": 4} | nets)
    values = record(file, tmp_path).arms[0].runs[0].values
    for net, told in nets.items():
        for place, calls in enumerate((1, 2)):
            for kind in ("exact", "net_calls"):
                value = values[f"{net}_judge_{kind}_{calls}"]
                assert value.mean == told[kind]["mean"][place]
                assert value.n == 4
                assert f"{net}_judge_{kind}_{calls}" in COLUMNS


def test_counted_costs_are_recorded(tmp_path):
    assert main(["reproduce", "fig4", "--out", str(tmp_path)]) == 0
    made = record(tmp_path / "fig4.json", tmp_path)
    assert made.computed
    assert made.study == "reproduce fig4"
    for size, paper in FIGURE_4.items():
        for model, total in paper.items():
            ours = made.arm(model, size).spread("published_rule_exaflops").mean
            assert ours == pytest.approx(total, rel=0.01)


def test_a_bench_is_recorded_line_by_line(tmp_path):
    line = {"preset": "trm-cpu", "precision": "fp32", "mode": "eager", "seconds_per_step": 1.2}
    environment = {"commit": "0" * 40, "cpu": "2 x Made Up", "command": ["loopbench", "bench"]}
    bench = {"environment": environment, "device": "cpu", "matmul_sizes": {"fp32": 1024}}
    bench["published"] = [line, line | {"mode": "compiled", "rates": {"fp32": 2.0}}]
    (tmp_path / "bench.json").write_text(json.dumps(bench))
    made = record(tmp_path / "bench.json", tmp_path)
    assert made.study == "bench"
    eager = made.arm("trm-cpu fp32 eager", "published")
    assert eager.spread("seconds_per_step").mean == 1.2
    assert made.arm("trm-cpu fp32 compiled", "published").spread("rates fp32").mean == 2.0


def test_lines_of_one_name_are_all_kept(tmp_path):
    line = {"map": "linear", "solver": "ours", "batch": 8, "tolerance": 1e-3, "seconds": 1.0}
    environment = {"commit": "0" * 40, "cpu": "2 x Made Up", "command": ["loopbench", "bench"]}
    bench = {"environment": environment, "device": "cpu", "matmul_sizes": {}}
    bench["peers"] = [line, line | {"tolerance": 1e-5, "seconds": 2.0}]
    bench["shares"] = [{"name": "a", "share": 0.5}, {"name": "a", "share": 0.5}]
    (tmp_path / "bench.json").write_text(json.dumps(bench))
    made = record(tmp_path / "bench.json", tmp_path)
    assert made.arm("linear ours tolerance 1e-05", "peers").spread("seconds").mean == 2.0
    assert [arm.name for arm in made.arms if arm.of == "shares"] == ["a 0", "a 1"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--name", "a b"], "--name a b: letters"),
        (["--name", "claims"], "is a table that is made of records"),
        (["--name", "differences"], "is a table that is made of records"),
        (["--name", "taken"], "is there; choose another --name or give --replace"),
        (["--name", "new"], "is no result of compare, reproduce"),
    ],
)
def test_a_mistake_is_told_and_nothing_is_lost(words, told, tmp_path, capsys):
    (tmp_path / "taken.json").write_text("kept")
    (tmp_path / "result.json").write_text('{"made": "up"}')
    asked = ["record", str(tmp_path / "result.json"), "--into", str(tmp_path), *words]
    assert main(asked) == 2
    assert told in capsys.readouterr().err
    assert (tmp_path / "taken.json").read_text() == "kept"


# The form


def test_a_record_is_read_as_it_was_written(tmp_path):
    for name, known in read_records().items():
        (tmp_path / f"{name}.json").write_text(record_text(known))
        assert read_record(tmp_path / f"{name}.json") == known


def test_spreads_are_of_runs_where_they_have_the_column():
    runs = [SeedRun(seed=s, values={"exact": Estimate(mean=v)}) for s, v in ((1, 0.4), (0, 0.6))]
    runs.append(SeedRun(seed=2, failure="out of memory"))
    summary = {"cell": Spread(mean=0.8, sd=0.1, n=3), "exact": Spread(mean=0.0, n=3)}
    arm = Arm(name="a", runs=tuple(runs), summary=summary)
    assert arm.spread("exact").mean == 0.5
    assert arm.spread("exact").sd == pytest.approx(statistics.stdev([0.4, 0.6]))
    assert arm.spread("exact").n == 2
    assert arm.spread("cell").n == 3
    assert arm.spread("nonesuch") is None
    assert (arm.seeds, arm.failed, arm.collapsed) == (3, 1, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"seeds": 2},
        {"page": "README.md"},
        {"source": "page"},
        {"commits": []},
        {"arms": [{"name": "a"}]},
        {"arms": [{"name": "a", "runs": [{"seed": 0}, {"seed": 0}]}]},
        {"arms": [{"name": "a", "runs": [{"seed": 0}]}] * 2},
        {"arms": [{"name": "a", "summary": {"exact": {"mean": float("nan"), "n": 1}}}]},
    ],
)
def test_what_is_no_record_is_refused(wrong):
    right = {"title": "a", "study": "compare", "source": "run", "commits": ["0"]}
    right |= {"commands": ["x"], "arms": [{"name": "a", "runs": [{"seed": 0}]}]}
    Record.model_validate(right)
    with pytest.raises(ValidationError):
        Record.model_validate(right | wrong)
