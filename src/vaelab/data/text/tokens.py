"""Tokens of text: characters, or pairs of bytes merged as often as they meet."""

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
UNKNOWN, SHOWN = "<unknown>", "\ufffd"  # what is no token, and how it is read
TOKENS_FILE = "tokenizer.json"  # in the run folder's model/
BYTES = 256
MOST_BYTES = 2**26  # of the file; fifty for each token and each merge


class Tokens:
    """Between texts and numbers, by a tokenizer of Hugging Face's `tokenizers`.

    The number after its last one, `end`, ends an example; no text can contain it.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    @classmethod
    def fit(cls, texts: Iterable[str], kind: TokenKind, size: int) -> "Tokens":
        """What `texts` need, at most `size` tokens.

        Args:
            texts: of the train split.
            kind: `characters`, the most frequent ones and one token for all others; or `bpe` (Sennrich et al.,
                2016) over bytes, to which nothing is unknown.
            size: of the vocabulary, the end of an example included.

        Raises:
            ConfigError: bytes alone are more than `size`.
        """
        return cls(_pairs(texts, size) if kind == "bpe" else _characters(texts, size))

    @property
    def end(self) -> int:
        """Ends an example."""
        return int(self.tokenizer.get_vocab_size())

    @property
    def unknown(self) -> int | None:
        """Stands for characters that are no token; None where there are none such."""
        number = self.tokenizer.token_to_id(UNKNOWN)
        return None if number is None else int(number)

    @property
    def characters(self) -> tuple[int, ...]:
        """How many characters each token stands for; the end for one, as a line feed would."""
        names = [str(self.tokenizer.id_to_token(number)) for number in range(self.end)]
        if self.unknown is not None:
            return (1,) * (self.end + 1)
        continuing = {letter for letter, byte in _letters().items() if 0x80 <= byte < 0xC0}
        return (*(sum(letter not in continuing for letter in name) for name in names), 1)

    @property
    def digest(self) -> str:
        """The same for the same tokens only, in hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """The tokens of each text, without its end."""
        if self.unknown is not None:
            return self._looked_up(texts)
        encoded = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.asarray(one.ids, dtype=np.int32) for one in encoded]

    def _looked_up(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Characters by their code points: the tokenizer's own numbers, thirty times as fast."""
        assert self.unknown is not None
        table = np.full(sys.maxunicode + 1, self.unknown, dtype=np.int32)
        for name, number in self.tokenizer.get_vocab().items():
            if number != self.unknown:
                table[ord(name)] = number
        points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        return np.split(table[points], np.cumsum([len(text) for text in texts])[:-1])

    def decode(self, numbers: Sequence[int]) -> str:
        """A text, up to the first end; what is padding is left out, what is unknown or no text is shown as U+FFFD."""
        kept = list(numbers)
        kept = kept[: kept.index(self.end)] if self.end in kept else kept
        text = str(self.tokenizer.decode([number for number in kept if number >= 0], skip_special_tokens=False))
        return text.replace(UNKNOWN, SHOWN) if self.unknown in kept else text

    def to_json(self) -> str:
        """As `from_json` and `tokenizers.Tokenizer.from_str` read it."""
        return str(self.tokenizer.to_str(pretty=True))

    @classmethod
    def from_json(cls, text: str) -> "Tokens":
        """The inverse of `to_json`.

        Raises:
            ValueError: it is no tokenizer, or one whose tokens have no numbers from 0 on.
        """
        try:
            tokenizer = Tokenizer.from_str(text)
        except Exception as error:  # what `tokenizers` raises is of no other class
            raise ValueError(str(error)) from error
        vocabulary = tokenizer.get_vocab()
        if sorted(vocabulary.values()) != list(range(tokenizer.get_vocab_size())):
            raise ValueError("its tokens are not numbered from 0 on")
        if UNKNOWN in vocabulary and any(len(name) != 1 for name in vocabulary.keys() - {UNKNOWN}):
            raise ValueError("a token is not one character")
        return cls(tokenizer)

    @classmethod
    def load(cls, run: Path | str) -> "Tokens":
        """The tokens of a run folder.

        Raises:
            CheckpointError: it has none, or a file that is no tokenizer.
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
