"""Run the tutorials, and save their outputs in the notebooks.

python docs/tutorials/execute.py                              # all of them
python docs/tutorials/execute.py table                        # one of them
python docs/tutorials/execute.py table --output elsewhere/    # into another folder

Each one runs in an empty temporary folder, whose path is taken out of the outputs. Pictures are stored small.
"""

import argparse
import base64
import os
import re
import sys
import tempfile
from io import BytesIO
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

HERE = Path(__file__).parent
SHELL = {"COLUMNS": "110", "NO_COLOR": "1", "PYTHONWARNINGS": "ignore"}  # of every command of a notebook
WIDEST = 900  # pixels
LARGE = 30_000  # bytes of a PNG


def executed(notebook: Path) -> nbformat.NotebookNode:
    """The notebook with the outputs of a run.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised an error.
    """
    content = nbformat.read(notebook, as_version=4)
    with tempfile.TemporaryDirectory(prefix="tutorial") as folder:
        resources = {"metadata": {"path": folder}}
        client = NotebookClient(
            content, timeout=900, kernel_name="python3", resources=resources, record_timing=False, coalesce_streams=True
        )
        client.execute()
        places = {str(Path(folder).resolve()), folder}
    for number, cell in enumerate(content.cells):
        cell.id = f"cell-{number}"
        for output in cell.get("outputs", []):
            _without(output, places)
    content.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return content


def _without(output: nbformat.NotebookNode, places: set[str]) -> None:
    """Paths become relative to the temporary folder, colours of a terminal are left out, and pictures become small."""
    texts = output if "text" in output else output.get("data", {})
    for key, text in texts.items():
        if key.startswith("text"):
            for place in places:
                text = text.replace(f"{place}/", "").replace(place, ".")
            text = re.sub(r"[^\n]*\n\x1b\[1A", "", text)  # a line that was written over: a progress bar
            texts[key] = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "")
    if "image/png" in texts:
        kind, content = _small(base64.b64decode(texts.pop("image/png")))
        texts[kind] = base64.b64encode(content).decode()


def _small(png: bytes) -> tuple[str, bytes]:
    """A picture of at most 900 pixels wide: PNG with 64 colours, or JPEG where that is large."""
    with Image.open(BytesIO(png)) as opened:
        picture = Image.new("RGB", opened.size, "white")
        picture.paste(opened, mask=opened.convert("RGBA").getchannel("A"))
    if picture.width > WIDEST:
        picture = picture.resize((WIDEST, round(picture.height * WIDEST / picture.width)), Image.Resampling.LANCZOS)
    with BytesIO() as plain, BytesIO() as photo:
        picture.quantize(64, dither=Image.Dither.NONE).save(plain, "PNG", optimize=True)
        picture.save(photo, "JPEG", quality=75, optimize=True)
        if len(plain.getvalue()) <= LARGE:
            return "image/png", plain.getvalue()
        return "image/jpeg", photo.getvalue()


def main() -> None:
    """Run the notebooks that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="of notebooks, without .ipynb")
    parser.add_argument("--output", type=Path, default=HERE, help="the folder that they are written to")
    arguments = parser.parse_args()
    os.environ |= SHELL | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for notebook in sorted(HERE.glob("*.ipynb")):
        if not arguments.names or notebook.stem in arguments.names:
            print(notebook.stem, flush=True)
            nbformat.write(executed(notebook), arguments.output / notebook.name)


if __name__ == "__main__":
    main()
