"""Where a command prints: text stands as it is."""

from typing import Any

import rich.console


class Console(rich.console.Console):
    """Rich's console, to which brackets and colons are characters: a folder may be called
    `a[/b]` or `:b:`, which rich takes for markup and a pictograph."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False} | options)


def show(text: str, width: int, quiet: bool = False) -> None:
    """Print Markdown, its tables at least so wide."""
    from rich.markdown import Markdown

    wide = max(width, Console().width)
    Console(width=wide, quiet=quiet).print(Markdown(text))
