"""Cards of what is pushed to the hub, of the templates that lie beside this module."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2


def told_options(record: Mapping[str, Any]) -> dict[str, str]:
    """The options that a data folder's record says it was made with, as text; none that was not
    given."""
    given = {k: v for k, v in record.get("options", {}).items() if v not in (None, [], ())}
    return {
        name: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in given.items()
    }


def render_card(template: str, **values: Any) -> str:
    """A template's text, filled; an error for a value that it asks for and that is not there."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(values)
