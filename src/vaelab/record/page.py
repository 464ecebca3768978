"""An HTML page that opens offline, with everything in it: the frame of a report and of a comparison."""

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html import escape
from pathlib import Path

STYLE, SCRIPT = (Path(__file__).with_name(f"page.{kind}") for kind in ("css", "js"))


def page(title: str, about: str, command: str, parts: Sequence[str], footer: str = "") -> str:
    """The whole page.

    Its content policy lets a browser run the page's own script and no other, and fetch nothing.

    Args:
        title: plain text.
        about: what it shows, a sentence or two of plain text.
        command: what made it, plain text.
        parts: HTML, below the command.
        footer: plain text.
    """
    style, script = STYLE.read_text(encoding="utf-8"), SCRIPT.read_text(encoding="utf-8")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    lead = [f"<h1>{escape(title)}</h1>"]
    lead += [f"<p>{escape(about)}</p>"] if about else []
    lead += [f'<div class="command"><code>{escape(command)}</code></div>'] if command else []
    body = "\n".join(["<header>", *lead, "</header>", "<main>", *parts, "</main>"])
    closing = f"\n<footer>{escape(footer)}</footer>" if footer else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
{body}{closing}
<script>{script}</script>
</body>
</html>
"""


def fold(title: str, html: str, more: str = "", unfolded: bool = False) -> str:
    """A part that is folded away until somebody clicks its title; on paper it is unfolded.

    Args:
        title: plain text.
        html: what is folded.
        more: plain text beside the title.
        unfolded: whether it is open from the start.
    """
    beside = f" <small>{escape(more)}</small>" if more else ""
    opened = " open" if unfolded else ""
    return f"<details{opened}><summary>{escape(title)}{beside}</summary>\n{html}\n</details>"


def table(name: str, head: Sequence[str], rows: Sequence[str], kind: str = "") -> str:
    """An HTML table in a box of its own, in which it scrolls where it is wider than the page.

    Args:
        name: for those who cannot see it, plain text.
        head: whole `<th>` cells.
        rows: whole `<tr>` rows.
        kind: class names of the table.
    """
    named = f' class="{kind}"' if kind else ""
    lines = [f"<table{named}><thead><tr>{''.join(head)}</tr></thead>", "<tbody>", *rows, "</tbody></table>"]
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">' + "\n".join(lines) + "</div>"


def _digest(text: str) -> str:
    """By which a content policy knows a style or a script."""
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
