"""The `vaelab` command, shell completion, and what a process says before a run begins."""

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vaelab
import vaelab.run
from vaelab.cli import COMMANDS, main
from vaelab.config.help import help_page
from vaelab.config.location import config_dir
from vaelab.missing_package import missing
from vaelab.signals import Terminated, ending_at_once, exit_code, raising_when_told_to_end

SCRIPT = config_dir().parent / "train.py"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs `vaelab ...`; returns its exit code and what it printed."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["/usr/bin/vaelab", *arguments])
        code = 0
        try:
            main()
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        return code, *capsys.readouterr()

    return run


def test_a_wrong_command_names_the_nearest_one(command: Callable[..., tuple[int, str, str]]) -> None:
    assert command("trian") == (2, "", "error: vaelab trian: there is no such command; did you mean vaelab train?\n")
    assert "did you mean vaelab train model=ae?" in command("model=ae")[2]
    assert (
        "there are train, eval, runs, rerun, reproduce, compare, dashboard, init, completion, doctor,"
        in command("x")[2]
    )
    assert command()[0] == 2


def test_help_and_version(command: Callable[..., tuple[int, str, str]]) -> None:
    for arguments in (["--version"], ["train", "--version"]):
        assert command(*arguments) == (0, f"vaelab {vaelab.__version__}\n", "")
    for name in COMMANDS:
        assert f"\n  {name} " in command("--help")[1]
    assert "vaelab eval <run folder or checkpoint>" in command("eval", "--help")[1]
    assert "vaelab compare <folder>" in help_page([config_dir()])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("vaelab ", [*COMMANDS]),
        ("vaelab tr", ["train", "traverse"]),
        ("vaelab ev", ["eval"]),
        ("vaelab eval logs/a task=emb", ["task=embedding"]),
        ("vaelab eval logs", []),
        ("vaelab train model=sp", ["model=sparse_ae"]),
        ("vaelab train task=denoising corr", ["corruption.", "corruption="]),
        ("vaelab train -", []),
        ("vaelab train modle=x [ enc", []),
        ("vaelab compare logs", []),
        ("vaelab other", []),
    ],
)
def test_a_tab_completes_and_prints_nothing_else(
    command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, line: str, expected: list[str]
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    code, printed, said = command("-sc", "query=bash")
    assert (code, said) == (0, "")
    assert set(expected) <= set(printed.split())
    assert expected or not printed.strip()


def test_completion_is_installed_for_the_whole_command(command: Callable[..., tuple[int, str, str]]) -> None:
    for arguments in (["-sc", "install=bash"], ["train", "-sc", "install=bash"]):
        assert "hydra_bash_completion vaelab\n" in command(*arguments)[1]


def test_python_without_the_environment_says_what_to_type() -> None:
    source = SCRIPT.read_text()
    ast.parse(source, feature_version=(3, 7))  # the oldest that ast knows
    without = [sys.executable, "-I", "-S", str(SCRIPT), "task=denoising", "encoder.hidden=[8]"]
    done = subprocess.run(without, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "make train ARGS=\"task=denoising 'encoder.hidden=[8]'\"" in done.stderr
    assert "`make train`" in missing(ModuleNotFoundError(name="hydra"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_of_an_import_ends_the_process_with_one_line(number: int, tmp_path: Path) -> None:
    code = f"""
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from vaelab.run_folder import claim_run_dir
from vaelab.signals import ending_at_once
claim_run_dir(None, {str(tmp_path)!r})
with ending_at_once():
    try:
        os.kill(os.getpid(), {number})
        raise ImportError
    except BaseException:
        print("swallowed")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (128 + number, "")
    assert done.stderr == "error: interrupted before the run began\n"
    assert list(tmp_path.iterdir()) == []


def test_signals_are_heard_while_a_run_is_prepared_and_left_alone_afterwards() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated) as stopped, raising_when_told_to_end():
        os.kill(os.getpid(), signal.SIGTERM)
    assert exit_code(stopped.value) == 143
    assert exit_code(KeyboardInterrupt()) == 130
    assert exit_code(Terminated(signal.SIGUSR1)) == 143  # by which schedulers announce a SIGTERM
    with raising_when_told_to_end():
        heard: list[int] = []
        ours = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, lambda number, frame: (heard.append(number), ours(number, frame)))  # type: ignore[misc, operator]
        os.kill(os.getpid(), signal.SIGTERM)  # whoever has taken over decides when to stop
        assert heard == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) == before
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        with ending_at_once(), raising_when_told_to_end():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("words", "stop", "code"),
    [((), KeyboardInterrupt(), 130), (("-m", "latent_dim=2,3"), Terminated(signal.SIGTERM), 143)],
    ids=["a run", "a sweep"],
)
def test_an_interruption_before_the_run_leaves_no_folder(
    in_process: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    words: tuple[str, ...],
    stop: BaseException,
    code: int,
) -> None:
    def run(*_: Any) -> None:
        raise stop

    monkeypatch.setattr(vaelab.run, "run", run)
    with pytest.raises(SystemExit) as stopped:
        in_process("logger=none", *words)
    assert stopped.value.code == code
    assert "interrupted before the run began" in capsys.readouterr().err
    assert not [path for path in (tmp_path / "logs").rglob("*") if "20" in path.name]
