"""Where a command prints: text stands as it is."""

from typing import Any, ClassVar

import rich.console


class Console(rich.console.Console):
    """Rich's console, to which brackets and colons are characters: a folder may be called
    `a[/b]` or `:b:`, which rich takes for markup and a pictograph."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False} | options)


def show(text: str, width: int, quiet: bool = False) -> None:
    """Print Markdown, its tables at least so wide; a name that is too long for its column goes on
    in the next line: cut short, two models could look alike."""
    from rich.markdown import Markdown, TableElement

    class Folded(TableElement):
        def __rich_console__(self, console: Any, options: Any) -> Any:
            for table in super().__rich_console__(console, options):
                for column in table.columns:
                    column.overflow = "fold"
                yield table

    class Foldable(Markdown):
        elements: ClassVar = Markdown.elements | {"table_open": Folded}

    wide = max(width, Console().width)
    Console(width=wide, quiet=quiet).print(Foldable(text))
