"""The page of `loopbench demo`: what it answers over HTTP, and what a person sees in Chromium."""

import socket
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest

from puzzles.dataset import read_split
from puzzles.kinds import puzzle_of
from puzzles.sudoku.rules import from_tokens, parse
from puzzles.sudoku.solver import solve_unique
from puzzles.sudoku.well_known import WELL_KNOWN
from reasoning.training.distribution import join_world
from scripts.cli import main
from scripts.runs.opened import open_models, text_of
from scripts.runs.pretrained import load_pretrained

pytest.importorskip("gradio", reason="needs the extra `demo`")
solve_page = pytest.importorskip("scripts.exchange.solve_page")
httpx = pytest.importorskip("httpx")

PUZZLE = "4....22.1.....5..4........4.53..2.6."
WAIT = 40_000  # milliseconds: a busy machine is slow, not wrong


@pytest.fixture(scope="module")
def address(trained, sudokus):
    world = join_world("cpu")
    models = {"six": load_pretrained("sudoku", 6, world)}
    models |= {"six again": models["six"]} | open_models([str(trained)], (), world)
    published = read_split(sudokus, "test")
    page = solve_page.build(models, world, solve_page.Options(segments=4), published)
    yield solve_page.launch(page, "127.0.0.1", None)
    page.close()


@pytest.fixture(scope="module")
def client(address):
    from gradio_client import Client

    return Client(address, verbose=False)


class Refusing(BaseHTTPRequestHandler):
    """A proxy that lets nobody through."""

    def do_GET(self):
        self.send_error(403)

    do_HEAD = do_GET

    def log_message(self, *words):
        pass


@pytest.fixture(params=["closed", "refusing"])
def proxy_port(request):
    if request.param == "closed":
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            yield closed.getsockname()[1]
        return
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_proxy_in_between_is_told_with_its_remedy(proxy_port, monkeypatch, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy_port}")
        for name in ("NO_PROXY", "no_proxy", "http_proxy"):
            monkeypatch.delenv(name, raising=False)
        free.close()
        assert main(["demo", "--pretrained", "sudoku", "--port", str(port), "--device", "cpu"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "set NO_PROXY=127.0.0.1,localhost too" in said
    with socket.socket() as again:  # the server is gone
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


def right_answer(text: str) -> str:
    return "".join(map(str, solve_unique(parse(text)[None])[0]))


def ask(client, text, model="six", beside="none", segments=4, starts=1, images=1):
    return client.predict(text, model, beside, segments, starts, images, api_name="/solve")


def test_a_puzzle_is_answered_with_the_right_digits(client):
    said, shown = ask(client, PUZZLE)
    assert said == ""
    assert right_answer(PUZZLE) in unescape(shown)
    assert shown.count("data-recordings") == 1
    _, shown = ask(client, PUZZLE, beside="six again")
    assert unescape(shown).count('"chosen"') == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (PUZZLE[1:], "35 characters, expected 36"),
        ("x" + PUZZLE[1:], "not allowed"),
        ("44" + PUZZLE[2:], "no right answer"),
        ("", "0 characters"),
        ("." * (solve_page.LONGEST + 1), "at most"),
    ],
)
def test_a_malformed_puzzle_is_told_in_one_sentence(client, text, says):
    said, shown = ask(client, text)
    assert shown == ""
    assert says in unescape(said)
    assert said.count("<p") == 1
    assert "Traceback" not in said


def test_an_ambiguous_puzzle_is_answered_with_a_warning(client):
    said, shown = ask(client, "." * 36)
    assert "more than one solution" in said
    assert "data-recordings" in shown


def test_what_is_asked_is_bounded(client):
    assert "at most 16" in ask(client, PUZZLE, starts=16, images=2)[0]
    for bad in ({"segments": 65}, {"starts": 0}, {"images": 9}, {"model": "/etc/passwd"}):
        with pytest.raises(Exception, match=r"(?i)value|choices"):
            ask(client, PUZZLE, **bad)


def test_amounts_that_no_slider_gives_are_told_as_well():
    from scripts.exchange.solve_answers import NONE, Answers, Options

    models = {"six": load_pretrained("sudoku", 6, join_world("cpu"))}
    answers = Answers(models, join_world("cpu"), Options(), None)
    for amounts, says in (((65, 1, 1), "1 to 64"), ((0, 1, 1), "1 to 64"), ((4, 0, 1), "breadth")):
        told, shown = answers.solve(PUZZLE, "six", NONE, *amounts)
        assert says in unescape(told)
        assert shown == ""


def test_the_server_reads_no_file_takes_none_and_stays_on_loopback(address):
    for path in ("/etc/passwd", "pyproject.toml", __file__):
        assert httpx.get(f"{address}gradio_api/file={path}").status_code in (403, 404)
    sent = httpx.post(f"{address}gradio_api/upload", files={"files": ("a.txt", b"hello")})
    assert sent.status_code == 413
    port = httpx.URL(address).port
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), port, socket.AF_INET)}
    for other in others - {"127.0.0.1"}:
        if not other.startswith("127."):
            with pytest.raises(OSError), socket.create_connection((other, port), timeout=2):
                pass


def test_the_well_known_puzzles_have_one_solution():
    questions = np.stack([parse(text) for text in WELL_KNOWN.values()])
    assert solve_unique(questions).shape == (len(WELL_KNOWN), 81)


# -------------------------------------------------------------------------------------- in Chromium


@pytest.fixture
def tab(chromium, address, request):
    page = chromium.new_page(viewport={"width": getattr(request, "param", 390), "height": 900})
    page.set_default_timeout(WAIT)
    page.asked, page.faults = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.goto(address)
    wait_for_puzzle(page, 36)
    yield page
    assert page.faults == []
    page.close()


def wait_for_puzzle(tab, cells: int) -> None:
    """Of so many cells, as text and as drawn, for half a second: the page shows what it is given
    part after part, and what is typed or asked for between two of them would be joined to or
    replaced by what comes."""
    tab.locator("loopbench-grid svg.grid").wait_for()
    tab.evaluate("window.looks = 0")
    tab.wait_for_function(
        """cells => {
          const drawn = document.querySelector("loopbench-grid").cells?.join("");
          const text = document.querySelector("#puzzle-text textarea")?.value;
          const whole = drawn?.length === cells && text === drawn;
          window.looks = whole && text === window.last ? window.looks + 1 : 0;
          window.last = text;
          return window.looks >= 5;
        }""",
        arg=cells,
        polling=100,
    )


def shown_digits(tab) -> str:
    return "".join(tab.locator("loopbench-solve .board svg.grid text").all_text_contents())


def type_puzzle(tab, text: str) -> None:
    box = tab.get_by_label("The puzzle as text")
    box.fill("")
    box.press_sequentially(text)
    assert box.input_value() == text


def solve(tab) -> None:
    tab.get_by_role("button", name="Solve", exact=True).click()


def solved_board(tab):
    """The board, once it or a complaint is shown; the complaint fails the test in its own words."""
    tab.locator("loopbench-solve .board svg.grid, #said [role=alert]").first.wait_for()
    assert tab.locator("#said [role=alert]").all_inner_texts() == []
    return tab.locator("loopbench-solve .board svg.grid")


@pytest.mark.parametrize("tab", [1400, 390], indirect=True)
def test_type_solve_step_and_see_the_right_digits(tab):
    type_puzzle(tab, PUZZLE)
    tab.wait_for_function(
        "cells => document.querySelector('loopbench-grid').cells.join('') === cells", arg=PUZZLE
    )
    solve(tab)
    slider = tab.locator("loopbench-solve input[type=range]")
    slider.wait_for()
    top = "document.querySelector('loopbench-solve').getBoundingClientRect().top"
    tab.wait_for_function(f"() => -1 < {top} && {top} < innerHeight / 2")  # it is scrolled to
    assert shown_digits(tab) == right_answer(PUZZLE)
    assert tab.get_by_text("every rule holds").count() == 1
    assert tab.get_by_text("segment 4 of 4").count() == 1
    slider.press("Home")
    assert tab.get_by_text("segment 1 of 4").count() == 1
    tab.get_by_role("button", name="one segment on").click()
    assert tab.get_by_text("segment 2 of 4").count() == 1
    tab.get_by_role("button", name="Play").click()
    tab.get_by_text("segment 4 of 4").wait_for()
    board = tab.locator("loopbench-solve .board svg.grid")
    board.focus()
    board.press("ArrowRight")
    board.press("ArrowRight")
    expected = f"row 1 column 2: {right_answer(PUZZLE)[1]}"
    tab.locator("loopbench-solve .where", has_text=expected).wait_for()
    size = tab.viewport_size["width"]
    assert board.bounding_box()["width"] > min(0.85 * size, 300)  # room for a maze's cells
    width = tab.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1]
    outside = [
        url for url in tab.asked if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))
    ]
    assert outside == []


def test_in_the_dark_what_is_said_is_ink_on_paper(chromium, address):
    """The page around it follows the reader's scheme, and colours all that stands in it."""
    page = chromium.new_page(color_scheme="dark")
    page.set_default_timeout(WAIT)
    page.goto(address)
    page.locator("loopbench-grid svg.grid").wait_for()
    solve(page)
    colour = "(element, name) => getComputedStyle(element)[name]"
    for said in ("h3", ".verdict", "output"):
        ink = page.locator(f"loopbench-solve {said}").first.evaluate(colour, "color")
        assert ink == "rgb(34, 48, 60)", said
    for shown in ("loopbench-solve", "loopbench-grid"):
        paper = page.locator(shown).evaluate(colour, "backgroundColor")
        assert paper == "rgb(255, 255, 255)"
    page.close()


def test_a_malformed_one_shows_one_sentence_and_a_right_one_after_it_none(tab):
    type_puzzle(tab, PUZZLE + "5")
    solve(tab)
    said = tab.locator("#said [role=alert]")
    said.wait_for()
    assert said.count() == 1
    assert "37 characters" in said.inner_text()
    assert tab.locator("loopbench-solve").count() == 0
    type_puzzle(tab, PUZZLE)
    solve(tab)
    tab.locator("loopbench-solve .board svg.grid").wait_for()
    assert said.count() == 0


def test_a_puzzle_is_drawn_by_keys_and_by_touch_and_pasted(tab):
    box = tab.get_by_label("The puzzle as text")
    type_puzzle(tab, PUZZLE)
    grid = tab.locator("loopbench-grid svg.grid")
    tab.wait_for_function("() => document.querySelector('loopbench-grid').cells[0] === '4'")
    grid.focus()
    for key in ("ArrowRight", "ArrowRight", "6"):
        grid.press(key)
    drawn = PUZZLE[0] + "6" + PUZZLE[2:]
    tab.wait_for_function(
        "text => document.querySelector('#puzzle-text textarea').value === text", arg=drawn
    )
    area = grid.bounding_box()
    side = area["width"] / 6
    tab.locator("loopbench-grid button", has_text="3").click()
    grid.click(position={"x": 2.5 * side, "y": 0.5 * side})
    drawn = drawn[:2] + "3" + drawn[3:]
    tab.wait_for_function(
        "text => document.querySelector('#puzzle-text textarea').value === text", arg=drawn
    )
    box.fill("")
    box.focus()
    tab.keyboard.insert_text(PUZZLE)  # what a paste does: one input event, no keys
    tab.wait_for_function(
        "cells => document.querySelector('loopbench-grid').cells.join('') === cells", arg=PUZZLE
    )


def choose(tab, model) -> None:
    tab.get_by_role("combobox", name="Model").click()
    tab.get_by_role("option", name=str(model)).click()
    wait_for_puzzle(tab, 16)


def test_one_of_the_data_set_is_loaded_by_number(tab, trained, sudokus):
    choose(tab, trained)
    number = tab.get_by_label("Load one of the data set")
    number.fill("7")
    number.press("Enter")
    loaded = text_of("sudoku", read_split(sudokus, "test").inputs[7])
    holds = "text => document.querySelector('loopbench-grid').cells.join('') === text"
    tab.wait_for_function(holds, arg=loaded)
    number.fill("20")
    number.press("Enter")
    tab.get_by_text("There is no puzzle 20; they are numbered 0 to 19.").wait_for()
    assert tab.get_by_label("The puzzle as text").input_value() == loaded


def test_a_wrong_answer_says_which_rule_breaks(tab, trained, sudokus):
    choose(tab, trained)
    question = read_split(sudokus, "test").inputs[0]
    type_puzzle(tab, text_of("sudoku", question))
    solve(tab)
    texts = solved_board(tab).locator("text").all_text_contents()
    marks = {".": 1} | {str(n): n + 1 for n in range(1, 5)}
    answer = np.array([marks[c] for c in texts], np.uint8)
    assert len(answer) == 16
    expected = [each.rule for each in puzzle_of("sudoku").broken(question, answer)]
    assert expected, "a net of 20 steps solves nothing"
    assert from_tokens(answer).shape == (16,)
    listed = tab.locator("loopbench-solve .numbers li").all_inner_texts()
    assert listed[: len(expected)][:4] == expected[:4]


def test_an_exported_page_plays_without_a_network(chromium, tmp_path):
    out = tmp_path / "solve.html"
    words = ["demo", "--pretrained", "sudoku", "--puzzle", PUZZLE, "--export", str(out)]
    assert main([*words, "--segments", "3", "--breadth", "2", "--device", "cpu"]) == 0
    context = chromium.new_context(offline=True)
    page = context.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(out.as_uri())
    assert shown_digits(page) == right_answer(PUZZLE)
    page.locator("loopbench-solve input[type=range]").press("Home")
    assert page.get_by_text("segment 1 of 3").count() == 1
    page.get_by_label("Candidate").select_option("1")
    assert page.get_by_text("solver evaluations so far").count() == 1
    assert asked == [out.as_uri()]
    context.close()
