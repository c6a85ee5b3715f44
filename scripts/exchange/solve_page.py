"""The page of `loopbench demo`, by Gradio: choose a model and a puzzle, watch it being solved.

A Space on the Hugging Face hub is two lines of app.py, `from scripts.exchange.solve_page import
space` and `space()`, with `loopbench[demo]` in its requirements.

The page reads no file and takes none: models and puzzles are those the command was given. What it
is asked is bounded, here the requests that wait, the rest in `solve_answers`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import gradio as gr
import httpx

from puzzles.difficulty import LEVELS
from puzzles.puzzle_set import PuzzleSet
from reasoning.training.distribution import World, join_world
from scripts.exchange.solve_answers import LONGEST, NONE, Answers, Options
from scripts.reports.solve_player import MOST_CANDIDATES, MOST_SEGMENTS, script
from scripts.runs.opened import open_models
from scripts.runs.pretrained import shipped
from scripts.runs.session import TrainedRun
from scripts.usage import UsageError

_WAITING = 16  # requests
_TITLE = "loopbench: watch a puzzle being solved"
_ABOUT = """# Watch a puzzle being solved
The model answers anew after every segment. Play it, or step with the slider: how sure it is of each
cell, what changed, which rules still break, and whether its state comes to rest."""
# The text and the drawing are one puzzle: each writes the other, on the page alone. (Only a drawing
# by hand tells "input", so the two do not chase each other.)
_DRAWN_TO_TEXT = """(grid) => {
  const { kind, size, cells } = JSON.parse(grid);
  return kind === "maze" ? cells.match(new RegExp(`.{${size}}`, "g")).join("\\n") : cells;
}"""
_TEXT_TO_DRAWN = """(text, grid) => {
  const known = JSON.parse(grid), maze = known.kind === "maze";
  const digits = text.replace(/\\s/g, "").replace(/[0_]/g, ".");
  const cells = maze ? text.replace(/\\r?\\n/g, "") : digits;
  const allowed = new Set(known.palette.map(([character]) => character));
  const fits = cells.length === known.size ** 2 && [...cells].every((c) => allowed.has(c));
  return JSON.stringify(fits ? { ...known, cells } : known);
}"""
# On a narrow page it lies below everything that is asked; what is wrong is told beside the button.
_SHOW_SOLVED = """() => {
  document.querySelector("#solved loopbench-solve")?.scrollIntoView({ block: "start" });
}"""
_DRAWING = """
const grid = element.querySelector("loopbench-grid");
grid.addEventListener("edited", (event) => {
  props.value = JSON.stringify({ ...JSON.parse(props.value), cells: event.detail });
  trigger("input");
});
grid.dataset.puzzle = props.value;
watch("value", () => { grid.dataset.puzzle = props.value; });
"""
_CSS = """
.gradio-container { max-width: 1400px !important; }
#drawing .html-container, #solved .html-container { padding: 0 !important; }
@media (max-width: 640px) { .gradio-container > .main { padding: 12px !important; } }
#puzzle-text textarea { font-family: ui-monospace, "DejaVu Sans Mono", monospace; line-height: 1.15; }
#said p { margin: 0; padding: 8px 12px; border-left: 4px solid currentColor; font-weight: 600; }
"""  # noqa: E501
_FONTS = {
    "font": ["system-ui", "DejaVu Sans", "sans-serif"],
    "font_mono": ["ui-monospace", "DejaVu Sans Mono", "monospace"],
}  # of the reader's own machine: a page on loopback asks no other


@dataclass(frozen=True)
class _Choice:
    """Of a model, and of a puzzle for it. makers: buttons by level of difficulty."""

    model: gr.Dropdown
    makers: Mapping[str, gr.Button]
    known: gr.Dropdown
    number: gr.Number


@dataclass(frozen=True)
class _Puzzle:
    """As text and as drawn."""

    typed: gr.Textbox
    grid: gr.HTML


@dataclass(frozen=True)
class _Manner:
    """In which it is solved."""

    beside: gr.Dropdown
    segments: gr.Slider
    breadth: gr.Slider
    images: gr.Slider


def build(
    models: Mapping[str, TrainedRun],
    world: World,
    options: Options | None = None,
    published: PuzzleSet | None = None,
) -> gr.Blocks:
    """The page of these models, by name.

    world: this process, on whose device they are; options: what the page begins with, None: one
    start of one image and each model's own segments; published: puzzles to load by number, beside
    the well-known ones, None: none.

    UsageError for no models.
    """
    if not models:
        raise UsageError("no model to solve with; give at least one")
    answers, first = Answers(models, world, options or Options(), published), next(iter(models))
    with gr.Blocks(title=_TITLE, analytics_enabled=False) as page:
        gr.Markdown(_ABOUT)
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                choice = _choice(answers, first)
                puzzle = _puzzle(answers, first)
                manner = _manner(answers, first)
                go = gr.Button("Solve", variant="primary")
                notice = gr.HTML(elem_id="said")
            with gr.Column(scale=3, min_width=300):
                solved = gr.HTML(elem_id="solved")
        _connect_choice(answers, choice, puzzle, manner, notice, solved)
        puzzle.grid.input(None, puzzle.grid, puzzle.typed, js=_DRAWN_TO_TEXT)
        puzzle.typed.change(None, [puzzle.typed, puzzle.grid], puzzle.grid, js=_TEXT_TO_DRAWN)
        asked = [puzzle.typed, choice.model]
        asked += [manner.beside, manner.segments, manner.breadth, manner.images]
        gr.on(
            [go.click, puzzle.typed.submit],
            answers.solve,
            asked,
            [notice, solved],
            api_name="solve",
        ).then(None, js=_SHOW_SOLVED)
    return page


def _choice(answers: Answers, first: str) -> _Choice:
    model = gr.Dropdown(list(answers.models), value=first, label="Model", filterable=False)
    with gr.Row():
        makers = {level: gr.Button(f"New {level}", size="sm", min_width=80) for level in LEVELS}
    known = answers.well_known(first)
    return _Choice(
        model,
        makers,
        gr.Dropdown(
            known,
            value=None,
            label="Load a published one",
            visible=bool(known),
            filterable=False,
        ),
        gr.Number(
            label="Load one of the data set, by number",
            precision=0,  # no bounds: what is outside is told in words
            visible=answers.numbered(first) > 0,
        ),
    )


def _puzzle(answers: Answers, first: str) -> _Puzzle:
    text, drawn = answers.puzzle(first)
    grid = gr.HTML(
        drawn,
        html_template="<loopbench-grid></loopbench-grid>",
        js_on_load=_DRAWING,
        elem_id="drawing",
    )
    typed = gr.Textbox(
        text,
        label="The puzzle as text: type or paste",
        lines=3,
        max_lines=6,
        max_length=LONGEST,
        elem_id="puzzle-text",
    )
    return _Puzzle(typed, grid)


def _manner(answers: Answers, first: str) -> _Manner:
    others, options = answers.others(first), answers.options
    with gr.Accordion("More: a second model, segments, restarts", open=False):
        return _Manner(
            gr.Dropdown(
                others, value=NONE, label="Beside it", visible=len(others) > 1, filterable=False
            ),
            gr.Slider(1, MOST_SEGMENTS, answers.segments(first), step=1, label="Segments"),
            gr.Slider(1, MOST_CANDIDATES, options.breadth, step=1, label="Starts (1: its own)"),
            gr.Slider(
                1,
                8,
                options.symmetries,
                step=1,
                label="Images under the puzzle's symmetries (1: itself)",
            ),
        )


def _connect_choice(
    answers: Answers,
    choice: _Choice,
    puzzle: _Puzzle,
    manner: _Manner,
    notice: gr.HTML,
    solved: gr.HTML,
) -> None:
    """What another model, a new puzzle and one that is loaded change.

    answers: compute it. choice, puzzle and manner: what the user asks with. notice: where a
    refusal is told. solved: where the answer stands, which a new puzzle clears.
    """
    both = [puzzle.typed, puzzle.grid]
    changed = [*both, choice.known, choice.number, manner.beside, manner.segments, notice, solved]
    # What answers at once stays out of the queue: its stream of events closes after each, and
    # one that is asked for while it closes can wait for ever.
    at_once = {"queue": False, "api_name": False}
    choice.model.input(answers.choose, choice.model, changed, **at_once)
    for level, button in choice.makers.items():
        generate = partial(answers.generate, level=level)
        button.click(generate, choice.model, [*both, notice], api_name=False)
    choice.known.input(answers.load, [choice.model, choice.known], both, **at_once)
    asked = [choice.model, choice.number]
    choice.number.submit(answers.load_row, asked, [*both, notice], **at_once)


def launch(page: gr.Blocks, host: str | None, port: int | None) -> str:
    """Serve the page and return its address; the server runs on in threads of its own.

    host: None: as GRADIO_SERVER_NAME says, or else loopback. port: None: the first that is free
    from 7860 on. OSError for a port that is taken. UsageError if Gradio, which asks its own server
    for the page, gets no answer: it goes by way of a proxy if the environment names one.
    """
    page.queue(max_size=_WAITING, default_concurrency_limit=1)
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            ssr_mode=False,
            footer_links=[],
            max_file_size=1,  # the server takes uploads whether or not a page has any: not here
            head=script(),
            css=_CSS,
            theme=gr.themes.Default(**_FONTS),
        )
    except Exception as error:
        # Where its server is answered for with a refusal Gradio raises a plain Exception.
        if type(error) is not Exception and not isinstance(error, ValueError | httpx.HTTPError):
            raise
        page.close()
        raise UsageError(
            f"the page does not answer this machine itself ({error}): if HTTP_PROXY is "
            "set, set NO_PROXY=127.0.0.1,localhost too; if the machine is busy, try again"
        ) from error
    return address


def space() -> None:
    """Serve the weights that ship, until stopped: what a Space runs."""
    world = join_world("auto")
    page = build(open_models((), tuple(shipped()), world), world)
    launch(page, None, None)
    page.block_thread()
