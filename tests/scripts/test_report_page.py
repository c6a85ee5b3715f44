"""The report in a browser: sorted, hovered over, toggled, played, printed, with nothing fetched."""

import io
import re
from pathlib import Path

import numpy as np
import pytest

from puzzles.render import to_png
from scripts.reports import solve_player
from scripts.reports.curves import Curve, Point, for_page
from scripts.reports.html_report import Section, Table, write_html
from scripts.reports.report import Row, comparison

HOSTILE = "</script><script>document.title = 'taken'</script><img src=x onerror='fetch(`x`)'>"


def row(label: str, seed: int, exact: float) -> Row:
    metrics = {n: {"mean": exact, "stderr": 0.01, "n": 50} for n in ("cell", "exact", "valid")}
    halted = {"metrics": metrics, "net_calls_per_puzzle": {"mean": 5.0}}
    record = {"parameters": 1234, "embedding_parameters": 56, "segments": 16, "step": 60}
    record |= {"metrics": metrics, "net_calls_per_puzzle": 10.0, "flops_per_puzzle": 3e6}
    record |= {"selection": {"halt-first": halted}}
    cost = {"net_calls": 1e6, "seconds": 60.0, "flops": 2e12, "bytes": 2**20}
    return Row(label, Path(f"{label}-{seed}"), seed, record, record, cost)


def recording() -> dict:
    """A 2x2 puzzle of a kind of its own that changes a cell a segment, named to do harm."""
    rule = [{"rule": HOSTILE, "cells": [0]}]
    said = [
        {"answer": answer, "confidence": [40, 60, 80, 100], "residual": 10.0**-s, "halt": s - 1.5,
         "evaluations": 2, "net_calls": 3, "broken": [] if s == 3 else rule}
        for s, answer in enumerate(("1111", "2111", "2211", "2221"))
    ]  # fmt: skip
    return {
        "kind": HOSTILE, "size": 2, "box": [1, 2], "question": "...1", "free": [0, 1, 2],
        "model": HOSTILE, "recipe": HOSTILE, "parameters": 1234, "solved": True, "rule": HOSTILE,
        "chosen": 0, "candidates": [{"image": 0, "start": 0, "segments": said}],
    }  # fmt: skip


@pytest.fixture
def report(tmp_path) -> Path:
    """Two models of two seeds and a failure, one of them named to do harm."""
    rows = [row("b", 0, 0.25), row("b", 1, 0.35), row("a9", 0, 0.5), row("a10", 0, 0.5)]
    rows.append(Row(HOSTILE, Path("c-0"), 0, failure=HOSTILE))
    curves = [
        Curve(
            *(label, seed),
            [Point(10 * i, i / 10, None if seed else i / 2, 2 / i) for i in range(1, 9)],
            [Point(40, 0.4, None if seed else 2.0, 20.0 + seed, 3.0)],
        )
        for label, seed in (("b", 0), ("b", 1), (HOSTILE, 0))
    ]
    picture = io.BytesIO()
    to_png("sudoku", [("puzzle", np.array([2, 3, 4, 5] * 4))], picture)
    (tmp_path / "still.png").write_bytes(picture.getvalue())
    still = [(tmp_path / "still.png", HOSTILE)]
    sections = [
        Section("One puzzle", still, HOSTILE, solve=recording()),
        Section("Curves", still, "", for_page(curves)),
    ]
    settings = Table(["setting", "a9", HOSTILE], [["lr", "1", HOSTILE]])
    out = tmp_path / "report.html"
    made = {"command": HOSTILE}
    write_html(comparison(rows), sections, made, HOSTILE, out, settings, {HOSTILE: HOSTILE})
    return out


@pytest.fixture
def opened(report, chromium):
    """The page, on a screen of a desk; what it asked for and what went wrong are kept."""
    page = chromium.new_page(viewport={"width": 1400, "height": 900})
    page.asked, page.faults = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.goto(report.as_uri())
    yield page
    assert page.faults == []
    assert {url for url in page.asked if not url.startswith("data:")} == {report.as_uri()}
    assert page.title() == HOSTILE
    page.close()


def column(page, table: str, place: int) -> list[str]:
    return page.locator(f"{table} tbody tr td:nth-child({place})").all_inner_texts()


def test_a_heading_sorts_by_value_and_once_more_the_other_way(opened):
    press = opened.locator("table.few th button").nth
    press(2).click()  # exact %
    assert column(opened, ".few", 3)[-2:] == ["30.0 ± 7.1", "-"]  # what has none stands last
    press(2).click()
    assert column(opened, ".few", 3)[0] == "30.0 ± 7.1"
    assert column(opened, ".few", 3)[-1] == "-"
    press(0).click()  # by name, 9 before 10
    assert column(opened, ".few", 1)[1:] == ["a9", "a10", "b"]
    assert opened.locator("table.few th").first.get_attribute("aria-sort") == "ascending"


def test_curves_tell_their_values_and_are_shown_by_model_and_seed(opened):
    loss, exact = opened.locator(".charts .chart").all()
    tip = loss.locator(".tip")
    loss.locator("svg").focus()
    assert tip.is_hidden()
    opened.keyboard.press("ArrowRight")
    assert tip.inner_text() == "b, seed 0\nstep 10, 0.1 min, 0.5 TFLOP\nloss 2"
    opened.keyboard.press("ArrowRight")
    assert tip.inner_text().endswith("loss 1")
    box = exact.locator("circle").first.bounding_box()
    opened.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert "exact 20.0 % ± 3.0" in exact.locator(".tip").inner_text()
    assert loss.locator("path").count() == 3
    opened.get_by_role("group", name="seeds").get_by_label("0", exact=True).uncheck()
    assert loss.locator("path").count() == 1
    opened.get_by_role("group", name="models").get_by_label("b", exact=True).uncheck()
    assert loss.locator("path").count() == 0
    opened.get_by_role("group", name="models").get_by_label("b", exact=True).check()
    assert "nothing is shown" not in loss.locator("svg").text_content()
    opened.locator("fieldset select").select_option("TFLOP")  # seed 1 did not measure them
    assert "nothing is shown" in loss.locator("svg").text_content()


def test_a_solve_is_stepped_through_and_played(opened):
    solve = opened.locator("loopbench-solve")
    slider, cells = solve.get_by_label("segment", exact=True), solve.locator(".board text")
    assert cells.all_text_contents() == list("2221")  # the last answer first
    assert solve.get_by_text("every rule holds").is_visible()
    slider.focus()
    opened.keyboard.press("Home")
    opened.keyboard.press("ArrowRight")
    assert cells.all_text_contents() == list("2111")
    assert solve.get_by_text("segment 2 of 4").is_visible()
    assert solve.get_by_text("1 cell changed; 4 solver evaluations so far").is_visible()
    assert solve.locator("li").all_inner_texts() == [HOSTILE]
    opened.keyboard.press("Home")
    assert solve.get_by_text("the first answer; 2 solver evaluations so far").is_visible()
    solve.get_by_role("button", name="Play", exact=True).click()
    solve.get_by_text("segment 4 of 4").wait_for()
    assert cells.all_text_contents() == list("2221")


@pytest.mark.parametrize(
    ("kind", "first"), [("maze", ["wall", "path, unsure to sure"]), ("sudoku", ["given"])]
)
def test_a_legend_is_of_what_is_shown(chromium, kind, first):
    page = chromium.new_page()
    page.set_content(solve_player.page([recording() | {"kind": kind}], "title", "text"))
    told = page.locator("loopbench-solve .legend > span").all_inner_texts()
    assert [each.split("\n")[-1] for each in told[: len(first)]] == first  # beside what is drawn
    page.close()


@pytest.mark.parametrize("width", [1400, 390])
def test_the_page_is_no_wider_than_the_screen(opened, width):
    opened.set_viewport_size({"width": width, "height": 800})
    for fold in opened.locator("details").all():
        fold.evaluate("fold => { fold.open = true; }")
    opened.wait_for_timeout(100)
    assert opened.evaluate("document.documentElement.scrollWidth") == width
    assert opened.locator("h1").bounding_box()["y"] < 200  # the verdict is seen first


def test_on_paper_pictures_stand_for_what_moves_and_nothing_is_folded(opened):
    still, live = opened.locator(".still").first, opened.locator("loopbench-solve")
    assert still.is_hidden()
    opened.emulate_media(media="print")
    assert still.is_visible()
    assert live.is_hidden()
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.locator("details:not([open])").count() == 0
    opened.evaluate("dispatchEvent(new Event('afterprint'))")
    assert opened.locator("details[open]").count() == 0
    opened.emulate_media(media="screen")


def test_on_paper_a_long_setting_leaves_its_models_name_whole(opened):
    opened.emulate_media(media="print")
    widths = """() => {
        for (const fold of document.querySelectorAll("details")) fold.open = true;
        const cell = document.querySelector(".settings td:nth-child(2)");
        cell.dataset.heading = "attractor-mini";
        cell.textContent = "until 0.18 segments 1; ".repeat(20);
        const squeezed = parseFloat(getComputedStyle(cell, "::before").width);
        cell.textContent = "";
        return [squeezed, parseFloat(getComputedStyle(cell, "::before").width)];
    }"""
    squeezed, free = opened.evaluate(widths)
    assert squeezed == pytest.approx(free)
    assert free > 20


def test_without_a_script_pictures_stand_there(report, chromium):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator(".still").first.is_visible()
    assert page.locator("loopbench-solve").is_hidden()
    context.close()


def test_a_name_is_text_wherever_it_stands(report):
    text = report.read_text()
    assert len(re.findall(r"<script[ >]", text)) == 3  # numbers, the page's own, the player
    assert "onerror='" not in text
