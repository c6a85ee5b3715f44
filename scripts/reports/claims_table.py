"""The paper's claims and their words as a table of a page and of the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from scripts.reports.tables import Table

HEADINGS = {
    "number": "",
    "claim": "claim of the paper",
    "where": "where",
    "paper": "paper",
    "ours": "ours",
    "scale": "scale",
    "seeds": "seeds",
    "effect": "effect, 95 % interval",
    "beside": "beside",
    "word": "word",
    "why": "why",
}


def claims_table(verdicts: Sequence[Mapping[str, Any]]) -> Table:
    """A row for each described verdict (`scripts.studies.claims.describe`), by its name."""
    rows = {v["name"]: {key: str(v[key]) for key in HEADINGS} for v in verdicts}
    return Table(HEADINGS, rows)


def words_table(verdicts: Sequence[Mapping[str, Any]], words: Sequence[str]) -> Table:
    """A row for each of the words, with the numbers and names of the claims that have it."""
    rows = {}
    for word in words:
        named = [f"{v['name']} ({v['number']})" for v in verdicts if v["word"] == word]
        rows[word] = {"word": word, "claims": ", ".join(named) or "none"}
    return Table({"word": "word", "claims": "claims"}, rows)
