"""`vaelab <verb> RUN ...` as a shell runs it, on small models of every modality."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import vaelab
from saved_models import image_run, made, music_run, people, run_of, series_run, table_run, text_run
from vaelab.cli import COMMANDS, main
from vaelab.commands.between import linear, spherical
from vaelab.data.tables.table import Table

VERBS = (
    "info", "sample", "reconstruct", "denoise", "encode", "decode", "interpolate", "traverse", "score", "classify",
    "export",
)  # fmt: skip
Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """`say(words)` runs a command line in this process: exit code, output, errors."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["vaelab", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        out, err = capsys.readouterr()
        return code, out, err

    return run


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        return image


RUNS = {"image": image_run, "table": table_run, "series": series_run, "text": text_run, "music": music_run}
FILES = {"image": "pictures", "table": "people.csv", "series": "long.csv", "text": "words.txt", "music": "songs"}


@pytest.mark.parametrize("kind", RUNS)
def test_every_verb_works_on_files_of_every_modality(tmp_path: Path, say: Say, kind: str) -> None:
    home = tmp_path / "a folder, ünd more"
    home.mkdir()
    run, out = RUNS[kind](home), home / "out"
    given = home / FILES[kind]
    one = min(path for path in given.iterdir() if path.is_file()) if given.is_dir() else given
    for words, said in [
        (("info", run), "commands"),
        (("sample", run, "-n", 4, "-o", out / "s"), "wrote 4 "),
        (("reconstruct", run, given, "-o", out / "r"), "wrote "),
        (("denoise", run, given, "-o", out / "d"), "wrote "),
        (("encode", run, given, "-o", out / "z.parquet"), "wrote "),
        (("decode", run, out / "z.parquet", "-o", out / "again"), "wrote "),
        (("interpolate", run, one, one, "-n", 3, "-o", out / "i"), "wrote 3 steps"),
        (("traverse", run, one, "-n", 3, "-o", out / "t"), "wrote 3 dimensions"),
        (("score", run, given, "-o", out / "scores.csv"), "wrote "),
    ]:
        code, told, errors = say(*words)
        assert code == 0, errors
        assert told.count("\n") == 1 or words[0] == "info", told
        assert said in told
    codes, scores = pd.read_parquet(out / "z.parquet"), pd.read_csv(out / "scores.csv")
    assert len(codes) == len(scores)
    assert {"z0", "z1", "z2"} <= set(codes.columns)
    assert np.isfinite(scores["score"]).all()
    assert not list(out.rglob(".*"))  # nothing half-written


def test_results_keep_names_sizes_and_folders(tmp_path: Path, say: Say) -> None:
    run = image_run(tmp_path)
    (tmp_path / "mine/inner").mkdir(parents=True)
    Image.new("L", (9, 30), 80).save(tmp_path / "mine/ä b.jpg")
    Image.new("RGBA", (30, 9), (1, 2, 3, 100)).save(tmp_path / "mine/inner/c.webp")
    assert say("reconstruct", run, tmp_path / "mine", "-o", tmp_path / "out")[0] == 0
    assert opened(tmp_path / "out/ä b.png").size == (9, 30)
    assert opened(tmp_path / "out/inner/c.png").mode == "RGBA"


def test_two_pictures_of_one_name_are_kept_apart(tmp_path: Path, say: Say) -> None:
    run = image_run(tmp_path)
    (tmp_path / "mine").mkdir()
    for name in ("a.png", "a.jpg"):
        Image.new("RGB", (9, 30)).save(tmp_path / "mine" / name)
    assert say("denoise", run, tmp_path / "mine", "-o", tmp_path / "out")[0] == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.png.png", "a.jpg.png"}


def test_a_large_picture_is_tiled(tmp_path: Path, say: Say) -> None:
    run = image_run(tmp_path)
    Image.new("RGB", (51, 3), (200, 100, 50)).save(tmp_path / "wide.png")
    assert say("denoise", run, tmp_path / "wide.png", "-o", tmp_path / "out", "--tile")[0] == 0
    assert opened(tmp_path / "out/wide.png").size == (51, 3)


def test_a_table_is_written_as_it_was_given(tmp_path: Path, say: Say) -> None:
    run = table_run(tmp_path)
    people(5).to_parquet(tmp_path / "later.parquet")
    assert say("reconstruct", run, tmp_path / "later.parquet", "-o", tmp_path / "out")[0] == 0
    again = pd.read_parquet(tmp_path / "out/later.parquet")
    assert list(again.columns) == list(people(5).columns)
    assert len(again) == 5
    expected = vaelab.load(run).reconstruct(tmp_path / "later.parquet")
    assert np.allclose(again["age"], expected["age"])


def test_what_was_encoded_is_decoded_to_what_reconstruct_writes(tmp_path: Path, say: Say) -> None:
    run = table_run(tmp_path)
    say("encode", run, tmp_path / "people.csv", "-o", tmp_path / "z.csv")
    say("decode", run, tmp_path / "z.csv", "-o", tmp_path / "decoded")
    say("reconstruct", run, tmp_path / "people.csv", "-o", tmp_path / "again")
    decoded, again = pd.read_csv(tmp_path / "decoded/decoded.csv"), pd.read_csv(tmp_path / "again/people.csv")
    assert np.allclose(decoded["age"], again["age"], rtol=1e-5)
    assert (decoded["city"] == again["city"]).all()


def test_codes_in_parquet_name_their_run(tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    run = table_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert say("encode", run.relative_to(tmp_path), "people.csv", "-o", "z.parquet")[0] == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    for words in (("../z.parquet", "-o", "a"), ("-o", "b", "../z.parquet"), (run, "-o", "c", "../z.parquet")):
        assert say("decode", *words)[0] == 0
    first, second, third = (Path(name, "decoded.csv").read_bytes() for name in "abc")
    assert first == second == third
    pd.DataFrame({"z0": [1.0]}).to_parquet("other.parquet")
    assert "does not name the run" in say("decode", "other.parquet", "-o", "d")[2]
    assert "name the run and the file" in say("decode", "codes.csv", "-o", "d")[2]
    run.rename(tmp_path / "moved")
    code, _, errors = say("decode", "../z.parquet", "-o", "d")
    assert (code, errors.count("\n")) == (2, 1)
    assert "which no longer exists" in errors
    assert not Path("d").exists()


def test_words_say_how_other_files_are_read(tmp_path: Path, say: Say) -> None:
    run = table_run(tmp_path)
    people(30).to_csv(tmp_path / "later.csv", index=False, sep=";", encoding="latin-1")
    assert say("encode", run, tmp_path / "later.csv", "-o", tmp_path / "a.csv")[0] == 1
    words = ("data.encoding=latin-1", "data.delimiter=semicolon")
    assert say("encode", run, tmp_path / "later.csv", *words, "-o", tmp_path / "z.csv")[0] == 0
    codes = pd.read_csv(tmp_path / "z.csv").filter(like="z").to_numpy()
    assert np.allclose(codes, vaelab.load(run).encode(people(30)), atol=1e-5)
    code, _, errors = say("encode", run, tmp_path / "later.csv", "data.encodin=x", "-o", tmp_path / "b.csv")
    assert (code, errors) == (2, "error: data.encodin: cannot be set for new files; did you mean encoding?\n")
    assert say("encode", run, tmp_path / "later.csv", "data.scaling=robust", "-o", tmp_path / "b.csv")[0] == 2


def test_broken_pictures_are_left_out_where_that_is_said(tmp_path: Path, say: Say) -> None:
    run = image_run(tmp_path)
    (tmp_path / "pictures/05.png").write_bytes(b"no picture")
    code, told, errors = say("encode", run, tmp_path / "pictures", "data.skip_broken=true", "-o", tmp_path / "z.csv")
    assert code == 0
    assert "wrote 11 codes" in told
    assert "05.png is not a readable image; they are left out" in errors


def test_a_recording_is_put_together_again(tmp_path: Path, say: Say) -> None:
    run = series_run(tmp_path)
    assert say("reconstruct", run, tmp_path / "long.csv", "-o", tmp_path / "out")[0] == 0
    assert pd.read_csv(tmp_path / "out/long.csv").shape == pd.read_csv(tmp_path / "long.csv").shape


def test_info_is_json_for_programs(tmp_path: Path, say: Say) -> None:
    code, told, _ = say("info", table_run(tmp_path), "--json")
    about = json.loads(told)
    assert code == 0
    assert about["columns"] == ["age", "children", "city", "since"]
    assert about["kind"] == "table"


# Misuse


def test_nothing_is_written_in_the_place_of_what_is_there(tmp_path: Path, say: Say) -> None:
    run, out = image_run(tmp_path), tmp_path / "out"
    assert say("sample", run, "-n", 1, "-o", out)[0] == 0
    code, _, errors = say("sample", run, "-n", 1, "-o", out)
    assert (code, errors) == (2, f"error: -o {out}: is not empty; name a new folder, or add --overwrite\n")
    assert say("sample", run, "-n", 1, "-o", out, "--overwrite")[0] == 0


def test_a_broken_picture_is_named_and_the_others_are_written(tmp_path: Path, say: Say) -> None:
    run = image_run(tmp_path)
    (tmp_path / "pictures/05.png").write_bytes(b"no picture")
    code, _, errors = say("reconstruct", run, tmp_path / "pictures", "-o", tmp_path / "out")
    assert code == 1
    assert "1 of 12 files cannot be used" in errors
    assert "05.png is not a readable image" in errors
    assert errors.count("\n") == 1
    assert len(list((tmp_path / "out").iterdir())) == 11


@pytest.mark.parametrize(("words", "said"), [
    (("sample", "nowhere", "-o", "o"), "nowhere: holds no model"),
    (("sample", "RUN", "-o", "o", "--device", "abacus"), "--device abacus: this machine has cpu"),
    (("sample", "RUN", "-o", "o", "--label", "x"), "label=x: the model is given no labels"),
    (("sample", "RUN", "-o", "o", "--prior", "fitted"), "keeps no fitted prior"),
    (("encode", "RUN", "pictures", "-o", "z.txt"), "should be a file that ends with .parquet or .csv or .npy"),
    (("encode", "RUN", "z.csv", "-o", "z.csv", "--overwrite"), "-o z.csv: is one of the files to read"),
    (("encode", "RUN", "picturs", "-o", "z.csv"), "no such file or folder; did you mean pictures?"),
    (("decode", "RUN", "z.npy", "-o", "o"), "z.npy: no such file"),
    (("traverse", "RUN", "pictures", "--dims", "3", "-o", "o"), "--dims 3: should be numbers from 0 to 2"),
    (("interpolate", "RUN", "pictures", "pictures", "-n", "1", "-o", "o"), "at least 2"),
    (("score", "RUN", "pictures", "-o", "s.csv", "--score", "neighbours"), "score=neighbours: this model has"),
    (("score", "RUN", "pictures", "-o", "s.csv", "--false-alarm-rate", "0.1"), "holds no detector"),
])  # fmt: skip
def test_misuse_is_one_message(
    tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    run = image_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    code, _, errors = say(*(run if word == "RUN" else word for word in words))
    assert code in (1, 2)
    assert said in errors
    assert errors.count("error: ") == 1
    assert not (tmp_path / "o").exists()


def test_what_cannot_be_written_is_one_message(tmp_path: Path, say: Say) -> None:
    run = image_run(tmp_path)
    (tmp_path / "file").write_text("")
    code, _, errors = say("sample", run, "-n", 1, "-o", tmp_path / "file/out")
    assert code in (1, 2)
    assert errors.startswith(f"error: {tmp_path / 'file'}")
    assert errors.count("\n") == 1


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_two_examples_and_does_not_import_torch(say: Say, verb: str) -> None:
    code, told, _ = say(verb, "--help")
    assert code == 0
    assert told.partition("examples:")[2].count(f"vaelab {verb} ") == 2
    assert verb in COMMANDS


# Ways between codes


def test_a_great_circle_keeps_the_length_of_codes() -> None:
    a, b = torch.tensor([3.0, 0, 0]), torch.tensor([0, 4.0, 0])
    way = spherical(a, b, torch.linspace(0, 1, 5))
    assert torch.allclose(way.norm(dim=1), torch.linspace(3, 4, 5))
    assert torch.allclose(way[0], a)
    assert torch.allclose(way[-1], b, atol=1e-5)
    assert torch.allclose(linear(a, b, torch.tensor([0.5]))[0], (a + b) / 2)
    assert torch.equal(spherical(a, 2 * a, torch.tensor([0.5])), linear(a, 2 * a, torch.tensor([0.5])))


def test_words_on_reading_stand_anywhere_in_the_line(tmp_path: Path, say: Say) -> None:
    run = image_run(tmp_path)
    (tmp_path / "pictures/broken.png").write_bytes(b"no picture")
    given, leave_out = tmp_path / "pictures", "data.skip_broken=true"
    for verb in ("reconstruct", "denoise"):
        code, told, _ = say(verb, run, given, "-o", tmp_path / verb, leave_out)
        assert (code, told[:8]) == (0, "wrote 12")
    assert say("reconstruct", run, given, "--tile", "-o", tmp_path / "tiles", leave_out)[0] == 0
    assert say("encode", run, given, "-o", tmp_path / "z.npy", leave_out)[0] == 0
    assert say("score", run, given, "-o", tmp_path / "s.csv", leave_out)[0] == 0
    only = given / "broken.png"
    nothing = tmp_path / "n"
    for words in (
        ("encode", run, only, "-o", tmp_path / "none.parquet"),
        ("score", run, only, "-o", tmp_path / "n.csv"),
        ("reconstruct", run, only, "-o", nothing),
        ("reconstruct", run, only, "--tile", "-o", nothing),
        ("interpolate", run, only, only, "-o", nothing),
    ):
        code, _, errors = say(*words, leave_out)
        assert code == 1
        assert errors.splitlines()[-1].startswith("error: ")
    assert not [path for path in tmp_path.iterdir() if path.stem in ("none", "n")]


def test_files_of_a_way_are_read_as_said(tmp_path: Path, say: Say) -> None:
    run = table_run(tmp_path)
    people(3).to_csv(tmp_path / "german.csv", index=False, sep=";")
    file, how = tmp_path / "german.csv", "data.delimiter=semicolon"
    assert say("interpolate", run, file, file, how, "-o", tmp_path / "i")[0] == 0
    assert say("traverse", run, how, file, "-o", tmp_path / "t")[0] == 0
    code, _, errors = say("interpolate", run, file, how, "-o", tmp_path / "one")
    assert (code, errors) == (2, "error: 1 file is named; name 2\n")


def test_heat_maps_are_written_over_nothing(tmp_path: Path, say: Say) -> None:
    run, given = image_run(tmp_path), tmp_path / "pictures"
    before = {path.name: path.read_bytes() for path in given.glob("*.png")}
    code, _, errors = say("score", run, given, "-o", tmp_path / "s.csv", "--maps", given)
    assert code == 2
    assert "is not empty" in errors
    assert {path.name: path.read_bytes() for path in given.glob("*.png")} == before


def test_a_model_that_is_given_labels_keeps_them(tmp_path: Path, say: Say) -> None:
    frame = people(60)
    frame.to_csv(tmp_path / "people.csv", index=False)
    data = made(Table, "table", tmp_path / "people.csv", scaling="standard", label="city")
    run = run_of(data, tmp_path / "run", settings={"condition": "label", "condition_size": 4, "condition_dropout": 0.1})
    assert say("sample", run, "-n", 7, "-o", tmp_path / "s")[0] == 0
    labels = pd.read_csv(tmp_path / "s/labels.csv")
    assert labels["label"].tolist() == ["Köln", "Oslo", "Rom"] * 2 + ["Köln"]
    assert say("encode", run, tmp_path / "people.csv", "-o", tmp_path / "z.csv")[0] == 0
    assert pd.read_csv(tmp_path / "z.csv")["label"].tolist() == frame["city"].tolist()
    assert say("reconstruct", run, tmp_path / "people.csv", "-o", tmp_path / "r")[0] == 0
    for number, more in enumerate([(), ("--label", "Rom")]):
        assert say("decode", run, tmp_path / "z.csv", "-o", tmp_path / f"d{number}", *more)[0] == 0
    decoded, other = (pd.read_csv(tmp_path / f"d{number}/decoded.csv") for number in range(2))
    again = pd.read_csv(tmp_path / "r/people.csv")
    assert np.allclose(decoded["age"], again["age"], rtol=1e-5)
    assert not np.allclose(other["age"], again["age"], rtol=1e-5)
    one, last = tmp_path / "one.csv", tmp_path / "last.csv"
    frame.iloc[:1].to_csv(one, index=False)
    frame.iloc[5:6].to_csv(last, index=False)
    assert say("interpolate", run, one, last, "-n", 5, "-o", tmp_path / "i")[0] == 0
    steps = pd.read_csv(tmp_path / "i/step.csv")
    assert np.allclose(steps["age"].iloc[[0, -1]], again["age"].iloc[[0, 5]], rtol=1e-5)


def test_what_is_no_file_is_said(tmp_path: Path, say: Say) -> None:
    run = image_run(tmp_path)
    (tmp_path / "link.png").symlink_to("gone.png")
    os.mkfifo(tmp_path / "pipe.png")
    for name, why in (
        ("link.png", "is a link to gone.png, which does not exist"),
        ("pipe.png", "is neither a file nor a folder"),
    ):
        assert why in say("encode", run, tmp_path / name, "-o", tmp_path / "z.csv")[2]
    table = table_run(tmp_path / "t") if (tmp_path / "t").mkdir() is None else run
    people(4).to_csv(tmp_path / "~tilde.csv", index=False)
    assert say("encode", table, tmp_path / "~tilde.csv", "-o", tmp_path / "z.csv")[0] == 0
    assert "2^63" in say("sample", run, "--seed", 10**20, "-o", tmp_path / "s")[2]


def test_codes_of_another_run_are_noted(tmp_path: Path, say: Say) -> None:
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    one, other = image_run(tmp_path / "a"), image_run(tmp_path / "b")
    assert say("encode", one, tmp_path / "a/pictures", "-o", tmp_path / "z.parquet")[0] == 0
    assert "note: " not in say("decode", one, tmp_path / "z.parquet", "-o", tmp_path / "own")[2]
    assert "was encoded by" in say("decode", other, tmp_path / "z.parquet", "-o", tmp_path / "other")[2]


@pytest.mark.long
def test_output_that_nobody_reads_or_that_does_not_fit_is_no_traceback(tmp_path: Path) -> None:
    run = table_run(tmp_path)
    command = f"{sys.executable} -m vaelab info {run} --json"
    closed = subprocess.run(f"{command} | head -c 1", shell=True, capture_output=True, text=True)
    assert closed.stderr == ""
    full = subprocess.run(f"{command} > /dev/full", shell=True, capture_output=True, text=True)
    assert full.returncode == 1
    assert full.stderr.count("\n") == 1
    assert full.stderr.startswith("error: ")
    assert "No space left on device" in full.stderr
