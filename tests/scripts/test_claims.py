"""The words of the paper's claims: each rule on made-up records, and the fourteen as recorded."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from PIL import Image

from scripts.cli import main
from scripts.commands.reproduce import TABLES
from scripts.commands.tables import ROOT
from scripts.reports.claim_figure import numbers
from scripts.reports.records import Arm, Estimate, Record, SeedRun, Spread, read_records
from scripts.studies.claim_list import CLAIMS
from scripts.studies.claim_texts import bars, describe
from scripts.studies.claims import WORDS, Contrast, Quantity, judge
from scripts.studies.language.tables import LANGUAGE_TABLES
from scripts.studies.table2 import SYSTEMS


def arm(name: str, values, column: str = "exact", of: str = "", tokens: float | None = None) -> Arm:
    """An arm of a number a seed; None is a run that failed."""
    runs = []
    for seed, value in enumerate(values):
        told = {} if value is None else {column: Estimate(mean=value)}
        if tokens is not None and told:
            told["training_tokens"] = Estimate(mean=tokens)
        runs.append(SeedRun(seed=seed, values=told, failure=None if told else "out of memory"))
    return Arm(name=name, of=of, runs=tuple(runs))


def record(*arms: Arm, **more) -> Record:
    settings = {"study": "made up", "scale": "cpu", "source": "run", "title": "a"} | more
    return Record(**settings, commits=("0" * 40,), commands=("loopbench x",), arms=arms)


MORE = Contrast("made up", Quantity("a", "exact"), Quantity("b", "exact"), "more")
ANY = CLAIMS[4]


def word(test: Contrast, *records: Record, **beside) -> tuple[str, str]:
    claim = replace(ANY, contrasts=(test,), **beside)
    verdict = judge(claim, {f"r{i}": each for i, each in enumerate(records)})
    return verdict.word, verdict.outcomes[0].why


APART = [0.70, 0.72, 0.71, 0.73], [0.50, 0.51, 0.52, 0.50]


def test_an_interval_on_the_papers_side_is_held_and_on_the_other_not():
    high, low = arm("a", APART[0]), arm("b", APART[1])
    assert word(MORE, record(high, low))[0] == "held"
    assert word(replace(MORE, says="less"), record(high, low))[0] == "not held"
    near = arm("b", [0.69, 0.74, 0.70, 0.74])
    assert word(MORE, record(high, near)) == ("undecided", "the interval holds zero")


def test_seeds_that_all_differ_alike_decide_nothing():
    same = record(arm("a", [0.5] * 3), arm("b", [0.498] * 3))
    assert word(MORE, same) == ("undecided", "all seeds differ alike")


def test_three_seeds_of_one_sign_can_be_undecided():
    # 14.0, 1.8 and 4.8 points: what three seeds cannot tell from chance.
    found = word(
        MORE, record(arm("a", [0.664, 0.74, 0.646]), arm("b", [0.524, 0.722, 0.598]))
    )  # fmt: skip
    assert found == ("undecided", "the interval holds zero")


def test_fewer_than_three_seeds_decide_nothing():
    assert word(MORE, record(arm("a", [0.9]), arm("b", [0.1]))) == ("undecided", "one seed")
    two = record(arm("a", [0.9, 0.9]), arm("b", [0.1, 0.1]))
    assert word(MORE, two) == ("undecided", "2 seeds")
    uneven = record(arm("a", [0.9] * 3), arm("b", [0.1]))
    assert word(MORE, uneven) == ("undecided", "one seed")


def test_a_failed_run_decides_nothing_and_is_counted():
    claim = replace(ANY, contrasts=(MORE,))
    made = record(arm("a", [*APART[0], None]), arm("b", [*APART[1], 0.5]))
    verdict = judge(claim, {"r": made})
    assert verdict.word == "undecided"
    assert verdict.outcomes[0].failed == 1
    assert "1 failed" in describe(verdict)["seeds"]


def test_a_collapsed_run_counts_as_what_it_scored():
    claim = replace(ANY, contrasts=(MORE,))
    made = record(arm("a", [0.6, 0.0, 0.6, 0.6]), arm("b", [0.5, 0.5, 0.5, 0.5]))
    (outcome,) = judge(claim, {"r": made}).outcomes
    assert outcome.collapsed == 1
    assert outcome.effect.mean == pytest.approx((0.1 * 3 - 0.5) / 4)


def test_what_no_record_holds_is_not_tested():
    assert word(MORE, record(arm("a", [0.5])))[0] == "not tested"
    assert word(MORE, record(*map(arm, "ab", APART), study="another"))[0] == "not tested"
    full = replace(MORE, scale="full")
    assert word(full, record(*map(arm, "ab", APART)))[0] == "not tested"
    assert word(full, record(*map(arm, "ab", APART), scale="full"))[0] == "held"


def test_of_records_with_seeds_enough_the_largest_scale_decides():
    lost = record(*map(arm, "ba", APART), scale="mini")
    assert word(MORE, lost, record(*map(arm, "ab", APART)))[0] == "held"
    few, many = ([arm(n, v[:k]) for n, v in zip("ab", APART, strict=True)] for k in (2, 4))
    assert word(MORE, record(*few), record(*many))[0] == "held"
    assert word(MORE, record(*many), record(*few))[0] == "held"
    one = record(arm("a", [0.1]), arm("b", [0.9]), scale="full")
    assert word(MORE, record(*many), one)[0] == "held", "one seed, however large, decides nothing"


def test_a_language_model_needs_tokens():
    test = Contrast(
        "made up", Quantity("a", "perplexity"), Quantity("b", "perplexity"), "less", language=True
    )
    few, enough = (
        record(
            arm("a", [4.0, 4.1, 4.0], "perplexity", tokens=t),
            arm("b", [5.0, 5.1, 5.1], "perplexity", tokens=t),
        )
        for t in (3e5, 8e6)
    )
    assert word(test, few) == ("undecided", "0.3 million tokens")
    assert word(test, enough)[0] == "held"
    assert word(test, few, enough)[0] == "held"


@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        ([4.00, 4.01, 4.00], "held"),
        ([4.30, 4.31, 4.30], "not held"),
        ([3.70, 3.71, 3.70], "not held"),
        ([4.00, 4.20, 4.05], "undecided"),
    ],
)
def test_about_means_within_the_margin(ours, expected):
    first, second = Quantity("a", "perplexity"), Quantity("b", "perplexity")
    test = Contrast("made up", first, second, "about", margin=0.02)
    made = record(arm("a", ours, "perplexity"), arm("b", [4.0, 4.0, 4.0], "perplexity"))
    assert word(test, made)[0] == expected


@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        ([0.95, 0.951, 0.952], "held"),
        ([0.89, 0.891, 0.892], "held"),
        ([0.6, 0.61, 0.6], "not held"),
        ([0.8, 0.95, 0.9], "undecided"),
    ],
)
def test_a_number_is_reached_within_five_points(ours, expected):
    test = Contrast("made up", Quantity("a", "exact"), 0.914, "reaches", margin=0.05)
    assert word(test, record(arm("a", ours)))[0] == expected


def test_what_is_counted_needs_no_seeds():
    test = Contrast(
        "made up", Quantity("a", "flops"), Quantity("b", "flops"), "less", relative=True
    )
    made = record(arm("a", [3.0], "flops"), arm("b", [4.0], "flops"), computed=True, scale="")
    assert word(test, made)[0] == "held"
    (outcome,) = judge(replace(ANY, contrasts=(test,)), {"r": made}).outcomes
    assert outcome.exact == -0.25


def test_known_means_and_deviations_have_welchs_interval():
    def summed(name: str, mean: float) -> Arm:
        return Arm(name=name, summary={"exact": Spread(mean=mean, sd=0.01, n=3)})

    assert word(MORE, record(summed("a", 0.9), summed("b", 0.5)))[0] == "held"
    unknown = Arm(name="b", summary={"exact": Spread(mean=0.5, n=3)})
    assert word(MORE, record(summed("a", 0.9), unknown)) == ("undecided", "no spread is known")


def test_a_claim_is_held_if_all_of_its_tests_are():
    held, lost = MORE, replace(MORE, says="less")
    unknown = replace(MORE, study="nonesuch")
    records = {"r": record(*map(arm, "ab", APART))}
    for tests, expected in (
        ((held, held), "held"),
        ((held, lost), "not held"),
        ((held, unknown), "undecided"),
        ((unknown, unknown), "not tested"),
        ((held, replace(lost, judged=False)), "held"),
    ):
        assert judge(replace(ANY, contrasts=tests), records).word == expected


def test_seeds_needed_are_of_the_first_five():
    wide = [0.5, 0.7, 0.6, 0.4, 0.65]
    made = [arm("a", wide + [0.6] * 5), arm("b", [0.3] * 10)]
    (outcome,) = judge(replace(ANY, contrasts=(MORE,)), {"r": record(*made)}).outcomes
    assert outcome.counted == 5
    assert outcome.needed == 48  # deviation 0.1204: 0.415 of it is 5 points, 48 pairs


# The fourteen, as recorded


def test_the_list_is_fourteen_claims_each_with_its_word(capsys):
    assert main(["claims", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [verdict["number"] for verdict in told] == list(range(1, 15))
    assert all(verdict["word"] in WORDS for verdict in told)
    assert len({verdict["name"] for verdict in told}) == 14
    for verdict in told:
        if verdict["word"] in ("held", "not held"):
            assert verdict["records"], verdict
            judged = [test for test in verdict["contrasts"] if test["judged"]]
            assert all(t["exact"] is not None or min(t["seeds"]) >= 3 for t in judged), verdict
    assert main(["claims"]) == 0
    assert "Sudoku-Extreme" in capsys.readouterr().out


def test_every_test_is_of_rows_that_its_command_has():
    """A misspelt arm would never be tested, silently."""
    known = {
        "reproduce table2": {f"{s.name.lower()}-{s.published_parameters.lower()}" for s in SYSTEMS},
        "reproduce gradients": {"one-step", "phantom K 3"},
        "reproduce fig4": {"attractor", "parcae"},
        "reproduce fig5": {"attractor, one-step", "parcae, every loop with gradient"},
        "pretrain": {"Attractor"},
        **{
            f"reproduce {name}": {entry.name for entry in table.rows("mini")}
            for name, table in LANGUAGE_TABLES.items()
        },
    }
    for claim in CLAIMS:
        assert claim.run[1] in TABLES
        for test in claim.contrasts:
            for quantity in (test.first, test.second):
                if isinstance(quantity, Quantity):
                    assert quantity.arm in known[test.study], claim.number
        if claim.nearest:
            name, of, column = claim.nearest
            assert read_records()[name].arm(of).spread(column)


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_what_stands_behind_a_claim_is_a_command(claim, capsys):
    assert main(["claims", "--run", str(claim.number), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"loopbench reproduce {claim.run[1]} ")
    assert ("--seeds 3" in said) == claim.trains
    assert f"reproduce {claim.run[1]}" in {test.study for test in claim.contrasts}


def test_run_runs_it_and_says_how_to_keep_it(tmp_path, monkeypatch, capsys):
    asked = []

    def run(words, env):
        asked.append(words)
        return subprocess.CompletedProcess(words, 0)

    monkeypatch.setattr("scripts.commands.claims.subprocess.run", run)
    assert main(["claims", "--run", "5", "--seeds", "2", "--out", str(tmp_path), "--yes"]) == 0
    (words,) = asked
    assert words[:4] == [sys.executable, "-m", "scripts", "reproduce"]
    assert words[-5:] == ["--seeds", "2", "--yes", "--out", str(tmp_path)]
    said = capsys.readouterr().out
    assert (
        f"loopbench record {tmp_path}/comparison.json --name claims-05-one-step-on-puzzles" in said
    )


@pytest.mark.parametrize(
    ("deviations", "needed", "trained"),
    [
        # Deviation 0.0418: 5 points are 1.195 of it, for which noncentral t asks for 8 pairs.
        ([0.0, 0.05, 0.1, 0.05, 0.0], 8, [5, 8]),
        ([0.0, 0.2, 0.4, 0.2, 0.0], 90, [5, 10]),
        ([0.0, 0.001, 0.002, 0.001, 0.0], 3, [5]),
    ],
)
def test_as_many_seeds_are_trained_as_the_first_five_ask_for(
    deviations, needed, trained, tmp_path, monkeypatch, capsys
):
    asked = []

    def run(words, env):
        asked.append(int(words[words.index("--seeds") + 1]))
        return subprocess.CompletedProcess(words, 0)

    steps = arm("phantom K 3", [0.5 + d for d in deviations])
    made = record(arm("one-step", [0.25] * 5), steps, study="reproduce gradients")
    monkeypatch.setattr("scripts.commands.claims.subprocess.run", run)
    monkeypatch.setattr("scripts.studies.result_records.make_record", lambda path: made)
    words = ["--run", "5", "--most-seeds", "10", "--out", str(tmp_path)]
    assert main(["claims", *words]) == 0
    assert asked == trained
    assert f"needs {needed} seeds by the spread of the first 5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--run", "5", "--most-seeds", "4"], "at least 5"),
        (["--run", "5", "--most-seeds", "9", "--seeds", "4"], "leave one out"),
        (["--run", "6", "--most-seeds", "9", "--corpus", "c"], "is not about accuracy"),
        (["--most-seeds", "9"], "--most-seeds is of --run N"),
        (["--run", "15"], "from 1 to 14"),
        (["--run", "6"], "needs --corpus DIR"),
        (["--run", "1"], "needs --sudoku DIR"),
        (["--dry-run"], "of --run N"),
        (["--run", "5", "--seeds", "0"], "at least 1"),
        (["--results", "nonesuch"], "holds no recorded results"),
    ],
)
def test_a_mistake_is_told_in_one_line(words, told, capsys):
    assert main(["claims", *words]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


def test_a_figure_shows_the_interval_and_where_the_claim_has_it():
    made = record(arm("a", [0.5, 0.6, 0.7]), arm("b", [0.4, 0.3, 0.5]))
    (bar,) = bars(judge(replace(ANY, contrasts=(MORE,)), {"r": made}))
    # 0.1, 0.3, 0.2: their mean, and t(2) = 4.3027 times 0.1 / sqrt(3), in points
    assert (bar.low, bar.mean, bar.high) == pytest.approx((-4.84, 20.0, 44.84), abs=0.01)
    assert (bar.start, bar.end) == (0, float("inf"))
    about = replace(MORE, says="about", margin=0.1)
    (bar,) = bars(judge(replace(ANY, contrasts=(about,)), {"r": made}))
    assert (bar.start, bar.end) == pytest.approx((-4.0, 4.0))  # a tenth of b's 40 points
    reaches = replace(MORE, second=0.9, says="reaches", margin=0.05)
    claim = replace(ANY, contrasts=(reaches,), nearest=("r", "a", "exact"))
    (bar,) = bars(judge(claim, {"r": replace_study(made)}))
    assert (bar.low, bar.mean, bar.high) == pytest.approx((-30.0, -30.0, -30.0))
    assert bar.start == -5.0
    assert bar.name == "nearest, another model"


def replace_study(made: Record) -> Record:
    return made.model_copy(update={"study": "another"})


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_every_claim_has_a_page_with_what_decides_it(claim):
    page = ROOT / "baselines" / "claims" / f"{claim.stem}.md"
    text, verdict = page.read_text(), judge(claim, read_records())
    assert text.startswith(f"# {claim.number}. {claim.text}\n")
    for part in ("question", "answer", "What would change our mind"):
        assert f"{part}.**" in text
    assert f"effect, why; rows {claim.name} -->" in text
    assert all(f"<!-- table {name}: " in text for name in verdict.records)
    with Image.open(page.with_suffix(".png")) as figure:
        assert figure.info["Description"] == numbers(bars(verdict)), (
            "draw it anew: loopbench claims --figures baselines/claims"
        )


def test_figures_are_of_all_claims_and_go_to_a_folder(tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    for words, told in (
        (["--figures", str(file)], "choose another --figures"),
        (["--figures", str(tmp_path / "new"), "--run", "5"], "--figures are of all claims"),
    ):
        assert main(["claims", *words]) in (1, 2)
        assert told in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
