"""Recorded solves on a page: `solve_player.js` and the element that it shows a record by.

A record is what `scripts.runs.recording.Recording.model_dump()` gives, or its JSON. A page that
holds `script()` once may hold any number of `element`s; neither needs a network.
"""

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from scripts.usage import UsageError

MOST_SEGMENTS = 64
MOST_CANDIDATES = 16  # starts times images
_SCRIPT = Path(__file__).with_name("solve_player.js")


def expect_bounded(segments: int, candidates: int) -> None:
    """UsageError for a solve that is more than a page shows."""
    if segments > MOST_SEGMENTS or candidates > MOST_CANDIDATES:
        raise UsageError(
            f"a page shows at most {MOST_SEGMENTS} segments, and {MOST_CANDIDATES} starts times "
            "images: give fewer --segments, --breadth or --symmetries"
        )


def script() -> str:
    """The <script> that makes the elements live."""
    return f"<script>{_SCRIPT.read_text()}</script>"


def element(recordings: Sequence[Mapping[str, Any]]) -> str:
    """Records side by side, on one slider; where scripts do not run, the answers as text.

    ValueError for no records.
    """
    if not recordings:
        raise UsageError("no recorded solve to show; give at least one")
    data = escape(json.dumps(recordings, separators=(",", ":")))
    plain = "".join(f"<pre>{escape(_answer(each))}</pre>" for each in recordings)
    return f'<loopbench-solve data-recordings="{data}">{plain}</loopbench-solve>'


def page(recordings: Sequence[Mapping[str, Any]], title: str, text: str) -> str:
    """One self-contained page of records; its policy forbids every request."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:">
<title>{escape(title)}</title>
<style>
  body {{ font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; color: #22303c; max-width: 76rem;
    margin: 1.5rem auto; padding: 0 .75rem; }}
  h1 {{ font-size: 1.35rem; line-height: 1.25; margin: 0 12px; }} p {{ margin: .4rem 12px; }}
</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p>{escape(text)}</p>
{element(recordings)}
{script()}
</body>
</html>
"""


def _answer(recording: Mapping[str, Any]) -> str:
    """The last answer of the chosen candidate, row by row."""
    answer = recording["candidates"][recording["chosen"]]["segments"][-1]["answer"]
    size = recording["size"]
    return "\n".join(answer[i : i + size] for i in range(0, len(answer), size))
