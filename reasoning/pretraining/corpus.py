"""Readers: files of text to documents, one after another, never a whole corpus in memory.

    *.parquet          one document a row, column `text`
    *.jsonl, *.ndjson, *.json
                       one JSON object a line, field `text`; blank lines are passed over
    anything else      plain UTF-8 text: the whole file is one document, or the parts between
                       separators if a separator is given (a blank line separates paragraphs as
                       often as documents, so nothing is guessed)

Each may be gzipped (.gz after the suffix); a byte order mark at the beginning of text is dropped. A
folder stands for the .parquet, .jsonl, .ndjson and .txt files below it, in order of their paths (a
.json file there may be anything, so is read only by its own name). Bad input raises CorpusError
naming file and place.
"""

import codecs
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from reasoning.errors import InputError

TEXT = "text"  # the parquet column, the JSON field
HUB_DATASET = "HuggingFaceFW/fineweb-edu"
HUB_SAMPLE = "sample/10BT"
_PARQUET, _LINES, _PLAIN = (".parquet",), (".jsonl", ".ndjson"), (".txt",)
_JSON = ".json"  # of lines, if text
_BLOCK = 1 << 24  # bytes of plain text read at once


class CorpusError(InputError):
    """Text or a corpus cannot be used; one line: the file, the place, the reason, the remedy."""


def source_files(paths: Iterable[str | Path]) -> list[Path]:
    """The files that paths stand for, folders searched, each once. CorpusError for a path that is
    missing or has no text below it."""
    files: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            found = [child for child in sorted(path.rglob("*")) if _known(child)]
            if not found:
                known = ", ".join((*_PARQUET, *_LINES, *_PLAIN))
                raise CorpusError(f"{path}: no text below this folder. Put {known} (.gz) files in")
            files += found
        elif path.is_file():
            files.append(path)
        else:
            raise CorpusError(f"{path}: no such file or folder. Check the path")
    return list({file.resolve(): file for file in reversed(files)}.values())[::-1]


def read_documents(path: Path, split_on: str | None = None) -> Iterator[str]:
    """The documents of one file in order, empty ones included.

    split_on: what separates the documents of a plain text file; it is no part of them.
    """
    kind = _suffix(path)
    lines = kind in (*_LINES, _JSON)
    reader = _read_parquet if kind in _PARQUET else _read_lines if lines else None
    with _told(path):
        yield from reader(path) if reader is not None else _read_plain(path, split_on)


def download_hub_sample() -> Path:
    """Download FineWeb-Edu's sample of 10 billion tokens (about 28 GB); the folder of its files.

    Raises CorpusError if huggingface_hub is not installed or the hub cannot be reached.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise CorpusError(
            "downloading needs huggingface_hub: pip install huggingface_hub"
        ) from error
    try:
        folder = snapshot_download(
            HUB_DATASET, repo_type="dataset", allow_patterns=f"{HUB_SAMPLE}/*.parquet"
        )
    except (OSError, HfHubHTTPError) as error:
        raise CorpusError(
            f"{HUB_DATASET}: cannot be downloaded ({_reason(error)}). Check the network, or "
            f"download the files of {HUB_SAMPLE} elsewhere and name their folder"
        ) from error
    return Path(folder) / HUB_SAMPLE


def _suffix(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def _known(path: Path) -> bool:
    return path.is_file() and _suffix(path) in (*_PARQUET, *_LINES, *_PLAIN)


def _open(path: Path) -> BinaryIO:
    return gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb")


def _pass_mark(file: BinaryIO) -> int:
    """Go past the byte order mark of a file just opened; how many bytes that was."""
    mark = codecs.BOM_UTF8
    if file.read(len(mark)) == mark:
        return len(mark)
    file.seek(0)
    return 0


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Reading errors of the system and the libraries as a CorpusError."""
    try:
        yield
    except CorpusError:
        raise
    except EOFError as error:
        raise CorpusError(f"{path}: the gzip file is cut short. Get the whole file") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise CorpusError(f"{path}: damaged gzip file ({_reason(error)}). Get it again") from error
    except pa.ArrowException as error:
        raise CorpusError(
            f"{path}: damaged parquet file ({_reason(error)}). Get it again"
        ) from error
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({_reason(error)}). Check the file") from error


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error).split("\n")[0]
    return " ".join(text.split()).rstrip(".") or type(error).__name__


def _decode(path: Path, data: bytes, offset: int) -> str:
    """UTF-8 text of bytes that begin at an offset of the (decompressed) file."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path}: invalid UTF-8 at byte {offset + error.start} ({error.reason}). "
            "Convert the file to UTF-8"
        ) from error


def _read_plain(path: Path, split_on: str | None) -> Iterator[str]:
    with _open(path) as file:
        offset, rest = _pass_mark(file), b""
        if not split_on:
            yield _decode(path, file.read(), offset)
            return
        separator = split_on.encode()
        while block := file.read(_BLOCK):
            # The last part waits for the next block: it, and even a separator, may go on there.
            *parts, rest = (rest + block).split(separator)
            for part in parts:
                yield _decode(path, part, offset)
                offset += len(part) + len(separator)
        yield _decode(path, rest, offset)


def _read_lines(path: Path) -> Iterator[str]:
    with _open(path) as file:
        offset = _pass_mark(file)
        for number, line in enumerate(file, 1):
            text = _decode(path, line, offset)
            offset += len(line)
            if text.strip():
                yield _field(path, number, text)


def _field(path: Path, number: int, line: str) -> str:
    """The text of one JSON line."""
    place = f"{path}: line {number}"
    try:
        record = json.loads(line)
    except ValueError as error:
        raise CorpusError(
            f"{place}: not JSON ({_reason(error)}). {_remedy(path, 'Correct the line')}"
        ) from error
    if not isinstance(record, dict) or TEXT not in record:
        remedy = _remedy(path, f'Name the field of the text "{TEXT}"')
        raise CorpusError(f'{place}: no field "{TEXT}". {remedy}')
    text = record[TEXT]
    if not isinstance(text, str):
        raise CorpusError(f'{place}: "{TEXT}" is {json.dumps(text)[:40]}, not a string. Correct it')
    try:
        text.encode()
    except UnicodeEncodeError as error:  # JSON can escape half of a surrogate pair
        raise CorpusError(
            f"{place}: character {error.start} of the text is a lone surrogate. Correct the line"
        ) from error
    return text


def _remedy(path: Path, of_lines: str) -> str:
    """What to do about a line that is no record; a .json file may not be one of lines at all."""
    if _suffix(path) != _JSON:
        return of_lines
    return (
        f'A .json file is read as JSON lines, one object with a field "{TEXT}" a line: convert it, '
        "or name it .txt if it is plain text"
    )


def _read_parquet(path: Path) -> Iterator[str]:
    # A compressed parquet file has to be seekable, so it is unpacked in memory.
    packed = path.name.lower().endswith(".gz")
    with pq.ParquetFile(io.BytesIO(gzip.open(path).read()) if packed else path) as file:
        schema = file.schema_arrow
        if TEXT not in schema.names:
            raise CorpusError(
                f'{path}: no column "{TEXT}" among {", ".join(schema.names)}. '
                f'Name the column of the text "{TEXT}"'
            )
        kind = schema.field(TEXT).type
        # A dictionary column, such as pandas' and polars' categories, holds its words once.
        words = kind.value_type if pa.types.is_dictionary(kind) else kind
        if words not in (pa.string(), pa.large_string(), pa.string_view()):
            raise CorpusError(f'{path}: column "{TEXT}" holds {kind}, not text. Convert it')
        row = 0
        for group in range(file.num_row_groups):
            for batch in file.iter_batches(row_groups=[group], columns=[TEXT], batch_size=1024):
                for value in batch.column(0):
                    row += 1
                    yield _cell(path, row, value)


def _cell(path: Path, row: int, value: pa.Scalar) -> str:
    try:
        text = value.as_py()
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path}: row {row}: invalid UTF-8 at byte {error.start} of the text "
            f"({error.reason}). Correct the row"
        ) from error
    if text is None:
        raise CorpusError(f"{path}: row {row}: the text is missing. Fill or drop the row")
    return text
