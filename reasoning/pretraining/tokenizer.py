"""Tokenizers: text to token ids and back, with the raw byte count of every token.

Byte-pair encoding over bytes (Sennrich et al. 2016; Radford et al. 2019) by the `tokenizers`
library, text split by GPT-4's pattern with digits in groups of one or two; or plain bytes, which
need no training. Ids 0..V-2 are text, V-1 is BOS, which text never encodes to, whatever it holds.

The bytes of documents are valid UTF-8, where 0xFF never occurs, so the trained alphabet leaves it
out and 256 tokens are enough for every text and BOS.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as LibraryTokenizer

from reasoning.errors import InputError
from reasoning.names import TOKENIZER_FILE

MIN_VOCABULARY, MAX_VOCABULARY = 256, 65536
BOS = "<|bos|>"
# GPT-4's split of text into words, with digits in groups of 1-2 (there 1-3): fewer of the
# vocabulary's tokens are spent on numbers.
SPLIT_PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}"
    r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)

# Learning merges takes more than the square of a word's length, so longer ones are learnt in pieces
# of so many characters; encoding does not cut them.
MAX_LEARNT = 256


class TokenizerError(InputError):
    """A tokenizer cannot be made or read; one line with the file and the remedy."""


class Tokenizer(Protocol):
    """Text to ids 0..vocabulary-1 and back.

    token_bytes: int64 (vocabulary,), raw bytes of each token, valid UTF-8 or not; 0 for BOS.
    identity: sha256, hex; equal for tokenizers that encode alike.
    """

    vocabulary: int
    bos: int
    token_bytes: np.ndarray
    identity: str

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Ids of every text, without BOS."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids; BOS is nothing, bytes that are not UTF-8 become U+FFFD."""

    def piece(self, token: int) -> bytes:
        """The raw bytes of one token; none for BOS."""

    def save(self, folder: Path) -> None:
        """Write folder/tokenizer.json, which `load_tokenizer` reads."""


class ByteTokenizer:
    """One token a byte: 256 bytes and BOS."""

    vocabulary = 257
    bos = 256

    def __init__(self) -> None:
        self.token_bytes = np.array([1] * 256 + [0], dtype=np.int64)
        self.identity = _identity(_BYTES_FILE)

    def encode(self, texts: list[str]) -> list[list[int]]:
        return [list(text.encode()) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(map(self.piece, ids)).decode(errors="replace")

    def piece(self, token: int) -> bytes:
        return b"" if token == self.bos else bytes([token])

    def save(self, folder: Path) -> None:
        _write(folder, _BYTES_FILE)


class BPETokenizer:
    """Byte-level BPE from the text of the library's JSON file.

    Raises TokenizerError for a file that is not one that `train_bpe` made.
    """

    def __init__(self, text: str, source: str = "tokenizer") -> None:
        try:
            self._library = LibraryTokenizer.from_str(text)
        except Exception as error:  # the library raises nothing narrower
            raise TokenizerError(
                f"{source}: not a tokenizer's file ({error}). Train it again"
            ) from error
        # The name of BOS in a document is text like any other. The library forgets this when it
        # saves, pickles or copies a tokenizer, so ours is always made anew: see __reduce__.
        self._library.encode_special_tokens = True
        self._text = text
        self.identity = _identity(text)
        self.vocabulary = self._library.get_vocab_size()
        self.bos = self._library.token_to_id(BOS)
        if self.bos != self.vocabulary - 1:
            raise TokenizerError(
                f"{source}: {BOS} is token {self.bos}, expected the last of {self.vocabulary}. "
                "Use a tokenizer from `loopbench tokenizer train`"
            )
        byte_of = {character: byte for byte, character in _byte_characters().items()}
        names = map(self._library.id_to_token, range(self.bos))
        try:
            pieces = [bytes(byte_of[character] for character in name) for name in names]
        except (KeyError, TypeError) as error:  # no character of a byte; no token of that number
            raise TokenizerError(
                f"{source}: its tokens are not bytes ({error}). "
                "Use a tokenizer from `loopbench tokenizer train`"
            ) from error
        if missing := set(range(0xFF)) - {piece[0] for piece in pieces if len(piece) == 1}:
            raise TokenizerError(
                f"{source}: has no token for byte {min(missing)}, which text may hold. "
                "Use a tokenizer from `loopbench tokenizer train`"
            )
        self._pieces = [*pieces, b""]
        self.token_bytes = np.array([len(piece) for piece in self._pieces], dtype=np.int64)

    def __reduce__(self) -> tuple[type["BPETokenizer"], tuple[str]]:
        """Pickles and copies are made of the file's text."""
        return BPETokenizer, (self._text,)

    def encode(self, texts: list[str]) -> list[list[int]]:
        found = self._library.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in found]

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(map(self.piece, ids)).decode(errors="replace")

    def piece(self, token: int) -> bytes:
        return self._pieces[token]

    def save(self, folder: Path) -> None:
        _write(folder, self._text)


def check_vocabulary(vocabulary: int) -> None:
    """InputError for a size that `train_bpe` cannot give."""
    if not MIN_VOCABULARY <= vocabulary <= MAX_VOCABULARY:
        raise InputError(
            f"--vocabulary is {vocabulary}, expected {MIN_VOCABULARY} to {MAX_VOCABULARY}"
        )


def train_bpe(documents: Iterable[str], vocabulary: int) -> BPETokenizer:
    """Learn the merges of a vocabulary, BOS included, from documents.

    Raises ValueError for a vocabulary outside 256..65536, TokenizerError for too little text.
    """
    check_vocabulary(vocabulary)
    library = LibraryTokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(SPLIT_PATTERN), behavior="isolated")
    pieces = pre_tokenizers.Split(Regex(rf"[\s\S]{{{MAX_LEARNT}}}"), behavior="isolated")
    characters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    library.pre_tokenizer = pre_tokenizers.Sequence([split, pieces, characters])
    library.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - 1,
        initial_alphabet=[text for byte, text in _byte_characters().items() if byte != 0xFF],
        show_progress=False,
    )
    library.train_from_iterator(documents, trainer)
    library.pre_tokenizer = pre_tokenizers.Sequence([split, characters])
    if library.get_vocab_size() < vocabulary - 1:
        raise TokenizerError(
            f"the text gives {library.get_vocab_size() + 1} tokens, not {vocabulary}. "
            "Give more text or a smaller --vocabulary"
        )
    library.add_special_tokens([AddedToken(BOS, special=True, normalized=False)])
    return BPETokenizer(library.to_str(pretty=True))


def load_tokenizer(place: str | Path) -> Tokenizer:
    """The tokenizer of a folder (or of its tokenizer.json), or "bytes".

    Raises TokenizerError naming the file if there is none.
    """
    if str(place) == "bytes":
        return ByteTokenizer()
    path = Path(place)
    path = path / TOKENIZER_FILE if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TokenizerError(
            f"{path}: cannot be read ({reason}). Make one with `loopbench tokenizer train`, "
            "or say `bytes`"
        ) from error
    return ByteTokenizer() if text == _BYTES_FILE else BPETokenizer(text, str(path))


_BYTES_FILE = json.dumps({"loopbench": "bytes", "vocabulary": ByteTokenizer.vocabulary}) + "\n"


def _identity(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _write(folder: Path, text: str) -> None:
    """Write the tokenizer's file whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{TOKENIZER_FILE}.partial"
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, folder / TOKENIZER_FILE)


def _byte_characters() -> dict[int, str]:
    """The printable character that stands for each byte in a byte-level vocabulary (GPT-2's map):
    a byte that prints in Latin-1 is itself, the others follow from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {
        byte: chr(0x100 + place) for place, byte in enumerate(others)
    }
