"""What a TAB completes: the words, how fast they come, and the three shells that ask for them."""

import json
import os
import pty
import re
import resource
import select
import shutil
import subprocess
import sys
import sysconfig
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from vaelab import cli
from vaelab.cli import main
from vaelab.completion import index as indexed
from vaelab.completion import words
from vaelab.completion.index import Index, build, options, place
from vaelab.completion.words import completions
from vaelab.config.location import config_dir

SCRIPTS = Path(sysconfig.get_path("scripts"))
INDEX = Index(
    commands={
        "train": ["--cfg", "--help"],
        "traverse": ["--overwrite"],
        "runs": ["--sort"],
        "reproduce": [],
        "eval": [],
    },
    groups={"model": ["ae", "vae"], "model/schedule": ["linear"], "encoder": ["conv", "mlp"], "experiment": ["first"]},
    defaults={"model": "vae", "encoder": "mlp", "experiment": None},
    root={"seed": None, "train": True, "trainer": {"max_epochs": None}, "model": {}, "encoder": {}},
    keys={
        "model=ae": {"tied": True},
        "model=vae": {"beta": None, "schedule": {"value": None}},
        "encoder=mlp": {"hidden": None},
        "encoder=conv": {"widths": None},
        "experiment=first": {},
    },
    choices={
        "model=ae": {},
        "model=vae": {},
        "encoder=mlp": {},
        "encoder=conv": {},
        "experiment=first": {"model": "ae"},
    },
)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("vaelab tr", ["train ", "traverse "]),
        ("vaelab ", ["train ", "traverse ", "runs ", "reproduce ", "eval ", "--help ", "--version "]),
        ("vaelab --v", ["--version "]),
        ("vaelab runs --s", ["--sort "]),
        ("vaelab train mod", ["model=", "model/schedule=", "model."]),
        ("vaelab train model=", ["model=ae ", "model=vae "]),
        ("vaelab train +model=v", ["+model=vae "]),
        ("vaelab train -m model=ae,v", ["model=ae,vae "]),
        ("vaelab train encoder=[conv,m", ["encoder=[conv,mlp"]),
        ("vaelab train encoder=[", ["encoder=[conv", "encoder=[mlp"]),
        ("vaelab train model.", ["model.beta=", "model.schedule."]),
        ("vaelab train model.schedule.", ["model.schedule.value="]),
        ("vaelab train model=ae model.", ["model.tied="]),
        ("vaelab train model=ae model.tied=", ["model.tied=false ", "model.tied=true "]),
        ("vaelab train experiment=first model.", ["model.tied="]),
        ("vaelab train model=vae experiment=first model.", ["model.beta=", "model.schedule."]),
        ("vaelab train 'data.path=my photos' encoder=conv encoder.", ["encoder.widths="]),
        ("vaelab train train=t", ["train=true "]),
        ("vaelab train trainer.", ["trainer.max_epochs="]),
        ("vaelab train latent_dim=", []),
        ("vaelab train model.beta=", []),
        ("vaelab train nothing.", []),
        ("vaelab eval lo", []),
        ("vaelab train --config-dir co", []),
        ('vaelab train notes="about mod', []),
        ("vaelab train 'data.path=my mod", []),
        ("vaelab eval logs/a mod", ["model=", "model/schedule=", "model."]),
        ("vaelab reproduce f", ["first "]),
        ("vaelab completion z", ["zsh "]),
        ("vaelab compare logs", []),
        ("vaelab 'it is open", []),
    ],
)
def test_words_that_may_stand_there(line: str, expected: list[str]) -> None:
    assert completions(line, INDEX) == expected


def test_options_of_ones_own_are_completed(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/mine.yaml").write_text("# mine\n")
    for flag in (f"--config-dir {tmp_path}", f"--config-dir={tmp_path}", f"-cd {tmp_path}"):
        assert completions(f"vaelab train {flag} model=m", INDEX) == ["model=mine "]


def test_names_of_folders_above_the_options_do_not_matter(tmp_path: Path) -> None:
    conf = tmp_path / "usr/local/hydra/conf"
    for group in ("model", "model/part", "local"):
        (conf / group).mkdir(parents=True)
        (conf / group / "mine.yaml").touch()
    assert options(conf) == {"model": ["mine"]}


def test_groups_and_options_are_known_before_the_index_is_built() -> None:
    assert "data=mnist " in completions("vaelab train data=mn", None)
    assert completions("vaelab train model.", None) == []
    assert completions("vaelab tra", None) == ["train ", "traverse "]
    assert list(words.COMMANDS) == [*cli.COMMANDS]
    assert not {"hydra", "paths", "local"} & set(options(config_dir()))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index of two groups, where `vaelab completion` looks for it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place().parent.mkdir(parents=True)
    place().write_text(json.dumps(asdict(INDEX)))
    return tmp_path / "cache"


def test_a_tab_is_answered_at_once_and_imports_nothing_heavy(cache: Path) -> None:
    command = [sys.executable, "-X", "importtime", str(SCRIPTS / "vaelab"), "completion", "--line", "vaelab train mod"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.split() == ["model=", "model/schedule=", "model."]
    packages = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert not packages & {"hydra", "omegaconf", "yaml", "rich", "torch", "numpy"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([SCRIPTS / "vaelab", *command[4:]], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.3  # seconds of a processor


def test_a_missing_or_broken_index_is_built_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[list[str]] = []
    monkeypatch.setattr(indexed.subprocess, "Popen", lambda command, **_: begun.append(command))
    place().write_text("[")
    assert indexed.read() is None
    place().unlink()
    assert indexed.read() is None
    assert indexed.read() is None
    assert [command[-2:] for command in begun] == [["completion", "--index"]]
    long_ago = time.time() - 2 * indexed.GIVEN_UP
    os.utime(place().with_suffix(".begun"), (long_ago, long_ago))  # that process must have died
    assert indexed.read() is None
    assert len(begun) == 2


def test_nothing_is_said_where_no_index_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert indexed.read() is None
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nobody/.cache"))
    assert indexed.read() is None
    assert not (tmp_path / "nobody").exists()
    monkeypatch.setattr(indexed, "place", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert indexed.read() is None


def test_the_index_has_the_keys_of_the_composed_config(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old, recent = cache / "vaelab/completion-0.json", cache / "vaelab/completion-1.json"
    old.touch()
    recent.touch()
    os.utime(old, (0, 0))
    few = {"model": ["vae", "iwae"], "data": ["fashion_mnist"], "encoder": ["conv"], "experiment": ["fashion_fsq"]}
    monkeypatch.setattr(indexed, "options", lambda folder: few)
    place().unlink()
    assert build({}) == place()
    assert not old.exists()
    assert recent.exists()  # of another environment
    index = indexed.read()
    assert index is not None
    assert completions("vaelab train encoder=conv encoder.", index) == ["encoder.widths=", "encoder.activation="]
    assert "model.beta=" in completions("vaelab train model.", index)
    assert "trainer.max_epochs=" in completions("vaelab train trainer.max", index)
    assert index.choices["experiment=fashion_fsq"]["model"] == "fsq"
    assert completions("vaelab train compile=", index) == []


def test_flags_are_those_of_the_help(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexed, "options", lambda folder: {})
    build({name: cli.COMMANDS[name].run for name in ("runs", "sample", "train", "doctor")})
    index = indexed.read()
    assert index is not None
    assert {"--where", "--sort", "--limit", "--csv", "--page"} <= set(index.commands["runs"])
    assert "--seed" in index.commands["sample"]
    assert "--multirun" in index.commands["train"]


@pytest.mark.parametrize("arguments", [[], ["tcsh"], ["bash", "zsh"]])
def test_another_shell_is_one_message(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["vaelab", "completion", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert "use vaelab completion bash, zsh or fish" in capsys.readouterr().err


def in_shell(program: list[str]) -> list[str]:
    environment = os.environ | {"PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}", "TERM": "dumb"}
    done = subprocess.run(program, capture_output=True, text=True, env=environment, timeout=60)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("vaelab train mod", ["model=", "model/schedule=", "model."]),
        ("vaelab train model=", ["ae ", "vae "]),  # readline keeps what stands before the `=`
        ("vaelab train model=ae model.tied=f", ["false "]),
    ],
)
def test_bash(cache: Path, line: str, expected: list[str]) -> None:
    words = line.replace("=", " = ").split()  # as readline cuts them
    asked = f"""
eval "$(vaelab completion bash)"
COMP_LINE={line!r} COMP_POINT={len(line)} COMP_WORDS=({" ".join(words)}) COMP_CWORD={len(words) - 1}
_vaelab
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    assert in_shell(["bash", "--norc", "-c", asked]) == expected


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish(cache: Path) -> None:
    asked = "vaelab completion fish | source; complete --do-complete='vaelab train {}'"
    assert sorted(in_shell(["fish", "--no-config", "-c", asked.format("model=")])) == ["model=ae", "model=vae"]
    assert in_shell(["fish", "--no-config", "-c", asked.format("model.be")]) == ["model.beta="]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh(cache: Path, tmp_path: Path) -> None:
    """A real interactive shell in a pseudo terminal, in which TAB is pressed."""
    master, slave = pty.openpty()
    environment = os.environ | {"PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}", "TERM": "dumb"}
    shell = subprocess.Popen(["zsh", "-f", "-i"], stdin=slave, stdout=slave, stderr=slave, env=environment)
    shown = ""

    def until(text: str) -> None:
        nonlocal shown
        while text not in shown:
            assert select.select([master], [], [], 30)[0], repr(shown)
            shown += re.sub(r"\x1b[\[>][?\d;]*[a-zA-Z]?", "", os.read(master, 4096).decode())
        shown = ""

    try:
        os.write(master, b'PS1=; autoload -Uz compinit; compinit -D; eval "$(vaelab completion zsh)"; print rea""dy\n')
        until("ready\r\n")
        os.write(master, b"print -r -- ; vaelab train model=ae model.ti\t")
        until("ed=")  # what is typed is echoed before it
        os.write(master, b"\x15vaelab tra\t")  # what train and traverse share is there already; TAB lists both
        until("traverse")
    finally:
        shell.kill()
        shell.wait()
        os.close(master)
        os.close(slave)
