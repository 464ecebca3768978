"""The tutorials run, and what is stored of their runs is small, without errors and without paths of a machine."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TUTORIALS = Path(__file__).parents[2] / "docs/tutorials"
NOTEBOOKS = sorted(TUTORIALS.glob("*.ipynb"))
MOST_BYTES = 300_000
OF_A_MACHINE = re.compile(r"(?<![\w.>])(/(home|Users|root|tmp|work|mnt|private|var)/|[A-Z]:\\)")


def outputs(notebook: Path) -> list[dict[str, Any]]:
    cells = json.loads(notebook.read_text())["cells"]
    return [output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]]


def test_there_are_five() -> None:
    assert len(NOTEBOOKS) == 5


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_it_has_outputs_and_none_of_them_is_an_error(notebook: Path) -> None:
    kinds = {output["output_type"] for output in outputs(notebook)}
    assert kinds
    assert "error" not in kinds


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_it_is_small(notebook: Path) -> None:
    assert notebook.stat().st_size < MOST_BYTES


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_it_has_no_path_of_a_machine(notebook: Path) -> None:
    for output in outputs(notebook):
        texts = [output.get("text", ""), *(text for kind, text in output.get("data", {}).items() if "text" in kind)]
        for text in texts:
            assert not OF_A_MACHINE.search("".join(text))


@pytest.mark.long
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_it_runs(notebook: Path, tmp_path: Path) -> None:
    command = [sys.executable, TUTORIALS / "execute.py", notebook.stem, "--output", tmp_path]
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=1500, env=os.environ | {"WANDB_MODE": "offline"}
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert {output["output_type"] for output in outputs(tmp_path / notebook.name)} <= {
        "stream", "display_data", "execute_result",
    }  # fmt: skip
