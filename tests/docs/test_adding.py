"""Every example of docs/adding.md, as a package of a user's own."""

import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vaelab.check import COLLECTIONS, COMPONENTS
from vaelab.errors import CheckpointError
from vaelab.evaluation.fitted_priors import load_fitted_prior
from vaelab.models.building import LATENT_PARTS, PARTS

Run = Callable[..., Path]
PAGE = (Path(__file__).parents[2] / "docs/adding.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(python|yaml|sh)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
FILES = {
    found[1]: text
    for language, text in BLOCKS
    if language != "sh" and (found := re.match(r"# ((?:mine|conf)/\S+)\n", text))
}
COMMANDS = [line for language, text in BLOCKS if language == "sh" for line in text.splitlines()]
FEW = ("trainer.max_epochs=1", "trainer.limit_train_batches=2", "latent_dim=4", "task.baselines=false")
QUICK = "model=white_vae"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the page's package and YAMLs, which is the current one."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text.partition("\n")[2], encoding="utf-8")  # without the name
    (tmp_path / "mine/__init__.py").touch()
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        del sys.modules[name]


def test_every_block_is_a_file_or_a_command() -> None:
    assert len(FILES) + len(COMMANDS) == len(BLOCKS)
    chosen = {word for line in COMMANDS for word in shlex.split(line)}
    options = {path.parent.name + "=" + path.stem for path in map(Path, FILES) if path.suffix == ".yaml"}
    assert options - chosen == {"decoder=mine"}  # which follows encoder=mine


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(line, id=line.partition("] ")[2], marks=[] if QUICK in line else pytest.mark.long)
        for line in COMMANDS
    ],
)
def test_an_example_is_trained_and_measured(train: Run, package: Path, line: str) -> None:
    python, script, *words = shlex.split(line)
    assert (python, script) == ("python", "train.py")
    words[words.index("--config-dir") : words.index("--config-dir") + 2] = ["--config-dir=conf"]
    run = train(*words, *FEW)
    assert (run / "metrics.json").is_file()
    assert (run / "model/model.json").is_file()
    if "fitted_prior=diagonal" in words:
        assert load_fitted_prior(run, trusted=("mine",)).sample(3).shape == (3, 4)
        with pytest.raises(CheckpointError, match="mine"):
            load_fitted_prior(run)


def test_the_table_names_every_place() -> None:
    named = {place for row in re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE) for place in re.findall(r"`(\w+)", row)}
    assert named == {*COMPONENTS, *COLLECTIONS}
    assert {*PARTS, *LATENT_PARTS} <= named
