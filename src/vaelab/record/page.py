"""An HTML page that opens offline, with everything in it."""

from base64 import b64encode
from html import escape

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.05rem; margin-top: 2rem }
pre { background: #f4f4f4; padding: .6rem .8rem; overflow-x: auto; border-radius: 4px }
table { border-collapse: collapse } td, th { padding: .2rem 1rem .2rem 0; text-align: left }
td, th { border-bottom: 1px solid #ddd }
td.n, th + th { text-align: right }
td.n { font-variant-numeric: tabular-nums } img { max-width: 100%; margin: .3rem 0 }
.note { background: #fff4d6; padding: .6rem .8rem; border-left: 4px solid #e0a800 }
footer { margin-top: 2rem; color: #777; font-size: .85rem }
"""


def page(title: str, command: str, parts: list[str], figures: dict[str, bytes], footer: str = "") -> str:
    """The whole page.

    Args:
        title: plain text.
        command: what made it, plain text.
        parts: HTML between the command and the figures.
        figures: PNG bytes by name, each under a heading.
        footer: plain text.
    """
    pictures = (
        f'<h2>{escape(name)}</h2>\n<img alt="{escape(name)}" src="data:image/png;base64,{b64encode(png).decode()}">'
        for name, png in figures.items()
    )
    closing = [f"<footer>{escape(footer)}</footer>"] if footer else []
    body = "\n".join([f"<h1>{escape(title)}</h1>", f"<pre>{escape(command)}</pre>", *parts, *pictures, *closing])
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(title)}</title><style>{STYLE}</style></head><body>
{body}
</body></html>
"""


def table(head: list[str], rows: list[list[str]]) -> str:
    """An HTML table; the first column is text, the others are numbers. Cells are HTML."""
    lines = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
    for first, *others in rows:
        lines.append(f"<tr><td>{first}</td>" + "".join(f'<td class="n">{cell}</td>' for cell in others) + "</tr>")
    return "<table>" + "\n".join(lines) + "\n</table>"
