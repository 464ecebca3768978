"""Tokens of text: characters, or byte pair encoding."""

import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from vaelab.careful_read import broken, read_bytes
from vaelab.errors import CheckpointError, ConfigError

TokenKind = Literal["characters", "bpe"]
UNKNOWN, SHOWN = "<unknown>", "\ufffd"  # the token of unknown characters, and the character it is decoded to
TOKENS_FILE = "tokenizer.json"  # in the run folder's model/
BYTES = 256
MOST_BYTES = 2**26  # largest size of the file; a token or merge takes about fifty bytes


class Tokens:
    """Conversion of texts to token numbers and back, with a tokenizer of Hugging Face's `tokenizers`.

    Its tokens have the numbers 0 to `end - 1`. The number `end` marks the end of an example; no text contains it.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    @classmethod
    def fit(cls, texts: Iterable[str], kind: TokenKind, size: int) -> "Tokens":
        """Fit a tokenizer to texts.

        Args:
            texts: the texts of the train split.
            kind: `characters`: a token for each of the most frequent characters, and one for all others. `bpe`: byte
                pair encoding (Sennrich et al., 2016) over bytes, for which no text is unknown.
            size: the largest size of the vocabulary, including `end`.

        Raises:
            ConfigError: `size` is too small for `bpe`, which needs more than 257.
        """
        return cls(_pairs(texts, size) if kind == "bpe" else _characters(texts, size))

    @property
    def end(self) -> int:
        """The number that marks the end of an example: the size of the tokenizer's vocabulary."""
        return int(self.tokenizer.get_vocab_size())

    @property
    def unknown(self) -> int | None:
        """The token for unknown characters; None if no character can be unknown."""
        number = self.tokenizer.token_to_id(UNKNOWN)
        return None if number is None else int(number)

    @property
    def characters(self) -> tuple[int, ...]:
        """How many characters each token stands for, `end + 1` counts; `end` counts as one, like a line feed."""
        names = [str(self.tokenizer.id_to_token(number)) for number in range(self.end)]
        if self.unknown is not None:
            return (1,) * (self.end + 1)
        continuing = {letter for letter, byte in _letters().items() if 0x80 <= byte < 0xC0}
        return (*(sum(letter not in continuing for letter in name) for name in names), 1)

    @property
    def digest(self) -> str:
        """A hash of the tokenizer: 16 hexadecimal digits."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """The tokens of each text as an array `(T,)`, without `end`; `T` differs between texts."""
        if self.unknown is not None:
            return self._looked_up(texts)
        encoded = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.asarray(one.ids, dtype=np.int32) for one in encoded]

    def _looked_up(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Encode characters with a table of code points: the result of the tokenizer, thirty times as fast."""
        assert self.unknown is not None
        table = np.full(sys.maxunicode + 1, self.unknown, dtype=np.int32)
        for name, number in self.tokenizer.get_vocab().items():
            if number != self.unknown:
                table[ord(name)] = number
        points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        return np.split(table[points], np.cumsum([len(text) for text in texts])[:-1])

    def decode(self, numbers: Sequence[int]) -> str:
        """Decode tokens up to the first `end`.

        Padding (negative numbers) is skipped. Unknown tokens, and bytes that are not valid text, become U+FFFD.
        """
        kept = list(numbers)
        kept = kept[: kept.index(self.end)] if self.end in kept else kept
        text = str(self.tokenizer.decode([number for number in kept if number >= 0], skip_special_tokens=False))
        return text.replace(UNKNOWN, SHOWN) if self.unknown in kept else text

    def to_json(self) -> str:
        """The tokenizer as JSON, which `from_json` and `tokenizers.Tokenizer.from_str` read."""
        return str(self.tokenizer.to_str(pretty=True))

    @classmethod
    def from_json(cls, text: str) -> "Tokens":
        """The inverse of `to_json`.

        Raises:
            ValueError: the text is not a tokenizer; its tokens are not numbered from 0 on; or it has a token for
                unknown characters and another token that is not one character.
        """
        try:
            tokenizer = Tokenizer.from_str(text)
        except Exception as error:  # `tokenizers` raises no narrower class
            raise ValueError(str(error)) from error
        vocabulary = tokenizer.get_vocab()
        if sorted(vocabulary.values()) != list(range(tokenizer.get_vocab_size())):
            raise ValueError("its tokens are not numbered from 0 on")
        if UNKNOWN in vocabulary and any(len(name) != 1 for name in vocabulary.keys() - {UNKNOWN}):
            raise ValueError("a token is not one character")
        return cls(tokenizer)

    @classmethod
    def load(cls, run: Path | str) -> "Tokens":
        """Load the tokens of a run folder.

        Raises:
            CheckpointError: the file is missing, too large or not a tokenizer.
        """
        file = Path(run) / "model" / TOKENS_FILE
        if not file.exists():
            raise CheckpointError(f"{run}: holds no tokens of text (model/{TOKENS_FILE} is missing)")
        try:
            return cls.from_json(read_bytes(file, MOST_BYTES).decode())
        except ValueError as error:
            broken(file, error)


def _characters(texts: Iterable[str], size: int) -> Tokenizer:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    kept = sorted(counts, key=lambda character: (-counts[character], character))[: max(1, size - 2)]
    vocabulary = {UNKNOWN: 0} | {character: number for number, character in enumerate(sorted(kept), start=1)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def _pairs(texts: Iterable[str], size: int) -> Tokenizer:
    if size <= BYTES + 1:
        raise ConfigError(f"data.vocabulary={size}: bpe begins with {BYTES} bytes and an end; ask for more, say 1000")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size - 1, initial_alphabet=sorted(alphabet), show_progress=False, min_frequency=2
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _letters() -> dict[str, int]:
    """The letters that stand for bytes in the names of byte-level tokens (Radford et al., 2019)."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(BYTES) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(BYTES + place): byte for place, byte in enumerate(hidden)}
