"""Which sign stands between the cells of delimited text."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Delimiter = Literal[",", ";", "\t", "|", "comma", "semicolon", "tab", "pipe"]
SIGN = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
WORD = {sign: word for word, sign in SIGN.items()}
CANDIDATES = ";\t|,"  # of two that fit equally well the first, since a comma also stands in numbers and texts
LINES = 100  # that are looked at
MOSTLY = 0.5  # share of lines with the same number of cells, above which a sign may be the delimiter
# A cell in quotes may hold any sign, and line breaks.
QUOTED = re.compile(r'(?:(?<=[;\t|,\r\n])|^)"(?:[^"]|"")*(?:"(?=[;\t|,\r\n]|$)|\Z)')
DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)")
EXCEL = re.compile(r'"?sep=([ -~\t])"?', re.IGNORECASE)  # the first line of a file that Excel is told its delimiter by


@dataclass(frozen=True)
class Layout:
    """How the lines of a file are divided.

    Attributes:
        delimiter: between cells.
        skipped: lines before the first that belongs to the table: 1 if it is `sep=;`.
        cells: how many most lines have; 1 if no delimiter was found.
        doubt: why another delimiter may be meant, in words; empty if there is no doubt.
    """

    delimiter: str
    skipped: int = 0
    cells: int = 1
    doubt: str = ""


def layout_of(text: str, asked: str | None = None) -> Layout:
    """Of the beginning of a file.

    The delimiter is the sign by which most of the first lines have the same number of cells, more than one. Where
    another sign divides as many lines, commas between digits count as decimal commas.

        layout_of("Umsatz, netto;Ort\\n587,75;Ulm\\n").delimiter  # ;

    Args:
        text: the first lines.
        asked: the delimiter or its name; None to find it.
    """
    first = text.split("\n", 1)[0].strip("\ufeff\r\n")
    excel = EXCEL.fullmatch(first)
    skipped = 1 if excel else 0
    body = text.removeprefix("\ufeff").split("\n", 1)[1] if excel and "\n" in text else text.removeprefix("\ufeff")
    lines = [line for line in QUOTED.sub("x", body).split("\n") if line.strip()][:LINES]
    if asked is not None or excel is not None:
        sign = SIGN.get(asked, asked) if asked is not None else excel[1]  # type: ignore[index]
        return Layout(sign, skipped, _usual(lines, sign)[0])
    found = {sign: _usual(lines, sign) for sign in CANDIDATES}
    fitting = [sign for sign, (cells, share) in found.items() if cells > 1 and share > MOSTLY]
    if not fitting:
        return Layout(",", skipped, 1, _one_column(lines))
    most = max(found[sign][1] for sign in fitting)
    fitting = [sign for sign in fitting if found[sign][1] == most]
    if "," in fitting and len(fitting) > 1:
        cells, share = _usual([DECIMAL_COMMA.sub("", line) for line in lines], ",")
        if cells == 1 or share < most:
            fitting.remove(",")
    best = max(fitting, key=lambda sign: found[sign][0])
    others = [sign for sign in fitting if sign != best]
    doubt = ""
    if others:
        told = " and ".join(f"{found[sign][0]} cells by {WORD[sign]}" for sign in (best, *others))
        doubt = (
            f"its lines have {told}, and the {WORD[best]} is taken; data.delimiter={WORD[others[0]]} takes the other"
        )
    return Layout(best, skipped, found[best][0], doubt)


def _usual(lines: Sequence[str], sign: str) -> tuple[int, float]:
    """The number of cells that most lines have, and the share of lines that have it."""
    counts = Counter(line.count(sign) + 1 for line in lines)
    if not counts:
        return 1, 0.0
    cells, lines_of_it = counts.most_common(1)[0]
    return cells, lines_of_it / len(lines)


def _one_column(lines: Sequence[str]) -> str:
    """What else the lines of one column may be."""
    held = [sign for sign in CANDIDATES if any(sign in line for line in lines)]
    if not held:
        return ""
    signs = " and ".join(f"a {WORD[sign]}" for sign in held)
    return (
        f"it is read as one column, and some of its lines hold {signs}, but not the same number in most of them; "
        f"data.delimiter={WORD[held[0]]} divides them"
    )
