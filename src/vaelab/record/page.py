"""A self-contained HTML page that opens offline: the frame of reports and comparisons."""

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html import escape
from pathlib import Path

STYLE, SCRIPT = (Path(__file__).with_name(f"page.{kind}") for kind in ("css", "js"))


def page(title: str, about: str, command: str, parts: Sequence[str], footer: str = "") -> str:
    """Return the whole page.

    Its content security policy allows only the page's own script, and no network requests.

    Args:
        title: plain text.
        about: a description in a sentence or two of plain text.
        command: the command that made it, plain text.
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
    """Return a section that is collapsed until its title is clicked; in print it is expanded.

    Args:
        title: plain text.
        html: the content.
        more: plain text after the title.
        unfolded: whether it is expanded from the start.
    """
    beside = f" <small>{escape(more)}</small>" if more else ""
    opened = " open" if unfolded else ""
    return f"<details{opened}><summary>{escape(title)}{beside}</summary>\n{html}\n</details>"


def table(name: str, head: Sequence[str], rows: Sequence[str], kind: str = "") -> str:
    """Return an HTML table in a box that scrolls if the table is wider than the page.

    Args:
        name: the accessible name, plain text.
        head: whole `<th>` cells.
        rows: whole `<tr>` rows.
        kind: CSS classes of the table.
    """
    named = f' class="{kind}"' if kind else ""
    lines = [f"<table{named}><thead><tr>{''.join(head)}</tr></thead>", "<tbody>", *rows, "</tbody></table>"]
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(name)}">' + "\n".join(lines) + "</div>"


def _digest(text: str) -> str:
    """Return the hash of a style or script for the content security policy."""
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
