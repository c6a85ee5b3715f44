"""The page of `loopbench demo`, by Gradio: choose a model and a puzzle, watch it being solved.

A Space on the Hugging Face hub is two lines of app.py, `from scripts.exchange.solve_page import
space` and `space()`, with `loopbench[demo]` in its requirements.

The page reads no file and takes none: models and puzzles are those the command was given. What it
is asked is bounded: characters, segments, candidates, and requests that wait.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

import gradio as gr
import httpx

from puzzles.difficulty import LEVELS, at_level
from puzzles.errors import DataError
from puzzles.kinds import puzzle_of
from puzzles.puzzle_set import PuzzleSet
from puzzles.sudoku.well_known import WELL_KNOWN
from reasoning.training.distribution import World, join_world
from reasoning.training.runs import RunError
from scripts.reports.solve_player import MOST_CANDIDATES, MOST_SEGMENTS, element, script
from scripts.runs.exploration import Plan
from scripts.runs.opened import example, open_models, text_of
from scripts.runs.pretrained import shipped
from scripts.runs.recording import record
from scripts.runs.session import TrainedRun
from scripts.runs.solve import tokens_of
from scripts.usage import UsageError

LONGEST = 5000  # characters of a puzzle
_WAITING = 16  # requests
_NONE = "none"
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
class Options:
    """What the page begins with. segments: none: as the model was configured."""

    segments: int | None = None
    breadth: int = 1
    symmetries: int = 1


def build(
    models: Mapping[str, TrainedRun],
    world: World,
    options: Options = Options(),
    published: PuzzleSet | None = None,
) -> gr.Blocks:
    """The page of these models. published: puzzles to load by number, beside the well-known ones.

    ValueError for no models.
    """
    if not models:
        raise UsageError("no model to solve with; give at least one")
    names, first = list(models), next(iter(models))

    def fits(name: str) -> bool:
        return published is not None and _same(models[name], published)

    def solve(
        text: str, name: str, beside: str, segments: float, breadth: float, images: float
    ) -> tuple[str, str]:
        try:
            return _solved(models, world, text, (name, beside), int(segments), breadth, images)
        except (DataError, RunError) as error:
            return _said(str(error)), ""

    def choose(name: str) -> list[Any]:
        run = models[name]
        text = example(run)
        return [
            text,
            _grid(run, text),
            gr.update(choices=_well_known(run), value=None, visible=bool(_well_known(run))),
            gr.update(visible=fits(name)),
            gr.update(choices=_others(models, name), value=_NONE, visible=_has_others(name)),
            options.segments or run.config.supervision.segments,
            "",
            "",
        ]

    def _has_others(name: str) -> bool:
        return len(_others(models, name)) > 1

    def generate(name: str, level: str) -> tuple[str, str, str]:
        run, seed = models[name], secrets.randbelow(2**31)
        part = at_level(run.kind, run.size, level, seed)
        text = text_of(run.kind, part.inputs[0])
        hard = "" if part.difficulty is None else f"{part.difficulty[0]:.3g} {part.difficulty_name}"
        return text, _grid(run, text), _said(f"Generated, {level}: {hard or 'no measure'}")

    def load(name: str, chosen: str | None) -> tuple[str, str]:
        text = WELL_KNOWN[chosen] if chosen in WELL_KNOWN else example(models[name])
        return text, _grid(models[name], text)

    def load_row(name: str, row: float | None) -> tuple[Any, Any, str]:
        run = models[name]
        count = len(published) if published is not None and fits(name) else 0
        if not 0 <= (row or 0) < count:
            told = f"There is no puzzle {row}; they are numbered 0 to {count - 1}."
            return gr.skip(), gr.skip(), _said(told)
        text = text_of(run.kind, published.inputs[int(row or 0)])
        return text, _grid(run, text), ""

    run, text = models[first], example(models[first])
    with gr.Blocks(title=_TITLE, analytics_enabled=False) as page:
        gr.Markdown(_ABOUT)
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                model = gr.Dropdown(names, value=first, label="Model", filterable=False)
                with gr.Row():
                    makers = {
                        level: gr.Button(f"New {level}", size="sm", min_width=80)
                        for level in LEVELS
                    }
                known = gr.Dropdown(
                    _well_known(run),
                    value=None,
                    label="Load a published one",
                    visible=bool(_well_known(run)),
                    filterable=False,
                )
                number = gr.Number(
                    label="Load one of the data set, by number",
                    precision=0,  # no bounds: what is outside is told in words
                    visible=fits(first),
                )
                grid = gr.HTML(
                    _grid(run, text),
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
                with gr.Accordion("More: a second model, segments, restarts", open=False):
                    beside = gr.Dropdown(
                        _others(models, first),
                        value=_NONE,
                        label="Beside it",
                        visible=_has_others(first),
                        filterable=False,
                    )
                    count = options.segments or run.config.supervision.segments
                    segments = gr.Slider(1, MOST_SEGMENTS, count, step=1, label="Segments")
                    breadth = gr.Slider(
                        1, MOST_CANDIDATES, options.breadth, step=1, label="Starts (1: its own)"
                    )
                    images = gr.Slider(
                        1,
                        8,
                        options.symmetries,
                        step=1,
                        label="Images under the puzzle's symmetries (1: itself)",
                    )
                go = gr.Button("Solve", variant="primary")
                notice = gr.HTML(elem_id="said")
            with gr.Column(scale=3, min_width=300):
                solved = gr.HTML(elem_id="solved")
        puzzle = [typed, grid]
        chosen = [*puzzle, known, number, beside, segments, notice, solved]
        # What answers at once stays out of the queue: its stream of events closes after each, and
        # one that is asked for while it closes can wait for ever.
        at_once = {"queue": False, "api_name": False}
        model.input(choose, model, chosen, **at_once)
        for level, button in makers.items():
            button.click(partial(generate, level=level), model, [*puzzle, notice], api_name=False)
        known.input(load, [model, known], puzzle, **at_once)
        number.submit(load_row, [model, number], [*puzzle, notice], **at_once)
        grid.input(None, grid, typed, js=_DRAWN_TO_TEXT)
        typed.change(None, puzzle, grid, js=_TEXT_TO_DRAWN)
        asked = [typed, model, beside, segments, breadth, images]
        gr.on(
            [go.click, typed.submit],
            solve,
            asked,
            [notice, solved],
            api_name="solve",
        ).then(None, js=_SHOW_SOLVED)
    return page


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
    except (ValueError, httpx.HTTPError) as error:
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


def _solved(
    models: Mapping[str, TrainedRun],
    world: World,
    text: str,
    names: Sequence[str],
    segments: int,
    breadth: float,
    images: float,
) -> tuple[str, str]:
    """What is to be said and shown."""
    if len(text) > LONGEST:
        raise DataError(f"the puzzle has {len(text)} characters; at most {LONGEST} are read")
    plan = Plan(breadth=int(breadth), symmetries=int(images))
    if plan.candidates > MOST_CANDIDATES:
        raise DataError(
            f"{plan.breadth} starts of {plan.symmetries} images are {plan.candidates} candidates; "
            f"at most {MOST_CANDIDATES} are run here"
        )
    asked = [(name, models[name]) for name in names if name in models]
    puzzle = tokens_of(text, asked[0][1])
    shown = [
        record(run, name, puzzle, segments, plan, world).model_dump(mode="json")
        for name, run in asked
        if (run.kind, run.size) == (asked[0][1].kind, asked[0][1].size)
    ]
    warning = puzzle_of(asked[0][1].kind).ambiguity(puzzle)
    return "" if warning is None else _said(f"Warning: {warning}"), element(shown)


def _grid(run: TrainedRun, text: str) -> str:
    """What <loopbench-grid> draws: the puzzle, and what it may be drawn with."""
    puzzle = puzzle_of(run.kind)
    characters = puzzle.characters(run.size)[1:]
    palette = [[c, c] for c in characters]
    palette[0][1] = "clear"
    if run.kind == "maze":
        palette = [[" ", "free"], ["#", "wall"], ["S", "S"], ["G", "G"]]
    cells = palette[0][0] * run.size**2
    if text:
        cells = "".join(puzzle.characters(run.size)[t] for t in puzzle.parse(text, run.size))
    look = {"kind": run.kind, "size": run.size, "box": puzzle.box(run.size)}
    return json.dumps(look | {"cells": cells, "palette": palette})


def _said(sentence: str) -> str:
    return f'<p role="alert">{escape(sentence)}</p>'


def _well_known(run: TrainedRun) -> list[str]:
    return list(WELL_KNOWN) if (run.kind, run.size) == ("sudoku", 9) else []


def _others(models: Mapping[str, TrainedRun], name: str) -> list[str]:
    """Models of the same puzzles."""
    same = [other for other in models if other != name and _same(models[name], models[other])]
    return [_NONE, *same]


def _same(run: TrainedRun, other: TrainedRun | PuzzleSet) -> bool:
    return (run.kind, run.size) == (other.kind, other.size)
