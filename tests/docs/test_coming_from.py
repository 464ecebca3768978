"""Every command of docs/coming_from.md that begins with `python train.py` or `vaelab`."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from PIL import Image
from sklearn.datasets import load_digits

from vaelab import cli
from vaelab.check import check
from vaelab.cli import main
from vaelab.config.location import config_dir

REPOSITORY = Path(__file__).parents[2]
DATA = Path(os.environ.get("VAELAB_DATA", REPOSITORY / "data"))
PAGE = (REPOSITORY / "docs/coming_from.md").read_text(encoding="utf-8")
CELLS = [row.split(" | ")[-1].rstrip(" |") for row in PAGE.splitlines() if row.startswith("| ")]
COMMANDS = [*dict.fromkeys(c for cell in CELLS for c in re.findall(r"`((?:python train\.py|vaelab )[^`]*)`", cell))]
RUN = ("debug=", " -m ", "sweep=", "hparams_search=", "trainer=", "resume=", "ckpt_path=", "eval ", "--cfg",
       "enforce_tags=", "seed=null")  # fmt: skip
"""Parts of commands that are run: they do more than set options of a run. All others are composed and checked."""
SHOWN = ("sweep=optuna_images", "sweep.trials=50")  # searches that differ from another one by a word: only composed
FEW = ["trainer.max_epochs=1", "trainer.limit_train_batches=2", "trainer.limit_val_batches=1", "encoder=mlp_small",
       "task.baselines=false"]  # fmt: skip
QUICK = ("python train.py", "python train.py resume=<run>", "vaelab eval <run>", "python train.py --cfg job")
IN_PROCESSES = ("sweep=", "hparams_search=", "trainer=ddp")
NO_NEW_RUN = ("resume=", "train=false", "eval ")
DEVICES = {"gpu": torch.cuda.is_available(), "ddp": torch.cuda.device_count() > 3,
           "mps": torch.backends.mps.is_available()}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the default command, with little data."""
    logs = tmp_path_factory.mktemp("trained")
    GlobalHydra.instance().clear()
    run_command(["train", "logger=none", f"paths.log_dir={logs}", *FEW])
    (metrics,) = logs.rglob("metrics.json")
    return metrics.parent


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: Path) -> Path:
    """The current folder, with what the commands name."""
    shutil.copytree(trained, tmp_path / "run")
    digits = load_digits()
    for number, picture in enumerate(digits.images[:40]):
        path = tmp_path / "images" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray((picture * 15).astype("uint8")).resize((64, 64)).save(path)
    rows = [f"{a},{b},{c}" for a, b, c in digits.data[:80, 2:5]]
    (tmp_path / "people.csv").write_text("\n".join(["height,weight,age", *rows]) + "\n", encoding="utf-8")
    (tmp_path / "data").symlink_to(DATA, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_command(words: list[str]) -> None:
    typed, sys.argv = sys.argv, ["vaelab", *words]
    try:
        main()
    finally:
        sys.argv = typed


def words_of(command: str) -> list[str]:
    """What stands behind `vaelab`, with little to train in front of what is typed."""
    text = command.replace("<run>", "run").replace("<images>", "images")
    program, *words = shlex.split(text)
    words = ["train", *words[1:]] if program == "python" else words
    if any(part in command for part in NO_NEW_RUN) or "--cfg" in words:
        return words
    few = [word for word in FEW if not (word.startswith("encoder") and "experiment=" in command)]
    few += [] if "logger=" in command or "debug=" in command else ["logger=none"]
    few += ["sweep.trials=1", "sweep.workers=1"] if "sweep=" in command or "hparams_search=" in command else []
    typed = [word for word in words[1:] if not word.startswith("sweep.trials")]
    return [words[0], *few, *typed]


@pytest.mark.parametrize("command", [c if c in QUICK else pytest.param(c, marks=pytest.mark.long) for c in COMMANDS])
def test_a_command_of_the_page_does_what_it_says(
    command: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = words_of(command)
    if "fashion" in command and not (DATA / "fashion_mnist").is_dir():
        pytest.skip("Fashion-MNIST is not there")
    if "sweep=" in command or "hparams_search=" in command:
        pytest.importorskip("optuna")
    if command not in QUICK and not any(part in command for part in RUN):
        GlobalHydra.instance().clear()
        monkeypatch.setattr(cli, "_import_run", lambda: lambda config, continued: check(config) and None)
        run_command(words)
        return
    if any(part in command for part in SHOWN) and "hparams_search=" not in command:
        GlobalHydra.instance().clear()
        run_command([*words, "--cfg", "job"])
        assert "space:" in capsys.readouterr().out
        return
    before = set(here.rglob("metrics.json"))
    device = next((d for d in DEVICES if f"trainer={d}" in words), None)
    if device is not None and not DEVICES[device]:
        with pytest.raises(SystemExit) as refused:
            run_command(words)
        assert refused.value.code == 2
        assert "error: trainer: " in capsys.readouterr().err
        return
    if any(part in command for part in IN_PROCESSES):
        done = subprocess.run([sys.executable, "-m", "vaelab", *words], capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stderr[-2000:]
    else:
        GlobalHydra.instance().clear()
        run_command(words)
    new = set(here.rglob("metrics.json")) - before
    jobs = 4 if "-m data.batch_size=" in command else 2 if "-m seed=" in command else 1
    none_made = command in ("python train.py resume=<run>", "python train.py --cfg job")
    assert len(new) == (0 if none_made else jobs)
    if "debug=" in command:
        assert new.pop().is_relative_to(here / "logs/debug")


def test_the_page_names_every_option_that_has_the_name_of_the_template() -> None:
    for group in ("debug", "callbacks", "logger", "trainer"):
        options = {path.stem for path in (config_dir() / group).glob("*.yaml")}
        named = set(re.findall(rf"{group}=(\w+)", PAGE))
        of_the_template = {"default", "early_stopping", "model_summary", "fdr", "limit", "overfit", "profiler",
                           "many_loggers", "cpu", "gpu", "ddp", "ddp_sim", "mps"}  # fmt: skip
        assert options & of_the_template <= named | {"default"}
