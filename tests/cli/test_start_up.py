"""Help, printed configs and shell completion answer at once; a run wastes no time on imports."""

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as L
import pytest
from lightning.pytorch.callbacks import Callback

from vaelab.config.help import help_page, summary
from vaelab.config.location import config_dir

HEAVY = {"torch", "lightning", "wandb", "datasets", "matplotlib", "sklearn", "torchmetrics", "numpy", "PIL", "pydantic"}
SCRIPT = config_dir().parent / "train.py"


def imported(*arguments: str, **variables: str) -> tuple[set[str], str]:
    """Top-level packages that a command line imports, and what it prints."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        env=os.environ | variables,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}, done.stdout


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--help"], "python train.py task=denoising"),
        (["--cfg", "job"], "latent_dim: 16"),
        (["--info", "defaults"], "model/schedule"),
    ],
)
def test_looking_imports_nothing_heavy(arguments: list[str], shown: str) -> None:
    packages, printed = imported(*arguments)
    assert "hydra" in packages
    assert packages & HEAVY == set()
    assert shown in printed


def test_shell_completion_imports_nothing_heavy() -> None:
    packages, printed = imported(
        "-sc", "query=bash", COMP_LINE="train.py model=", COMP_POINT="15", COMP_CWORD="1", COMP_SHELL="bash"
    )
    assert packages & HEAVY == set()
    assert "model=iwae" in printed


def test_every_option_has_a_line_in_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    page = " ".join(help_page([config_dir()]).split())
    silent = {"paths", "hydra", "local"}  # folders, Hydra's own and the user's: not words of the sentence
    options = [p for p in config_dir().rglob("*.yaml") if p.relative_to(config_dir()).parts[0] not in {*silent, p.name}]
    options = [p for p in options if p.parent.name != "part"]  # what several options share, which nobody types
    assert len(options) > 30
    for option in options:
        line = summary(option)
        assert line, f"{option} does not begin with a comment that says what it is"
        assert line[-1] not in ".,;"
        assert f"{option.stem} {' '.join(line.split())[:40]}" in page, f"{option} is not in --help"


def test_help_shows_a_users_own_options(tmp_path: os.PathLike[str]) -> None:
    folder = config_dir().__class__(tmp_path)
    (folder / "encoder").mkdir()
    (folder / "encoder" / "mine.yaml").write_text("# a net of my own\n_target_: mine.Net\n")
    page = help_page([config_dir(), folder])
    assert "a net of my own" in page
    assert "fully connected layers" in page


class Watch(Callback):
    """Notes whether garbage is collected while a model trains."""

    collecting: bool

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        Watch.collecting = gc.isenabled()


@pytest.mark.long
def test_garbage_is_collected_in_training_and_after_a_refusal(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    import test_start_up

    train("debug=fdr", "trusted=[test_start_up]", "+callbacks.watch._target_=test_start_up.Watch")
    assert test_start_up.Watch.collecting
    with pytest.raises(SystemExit):
        train("model.bta=1")
    assert gc.isenabled()
