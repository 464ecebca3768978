"""Texts of any file become tokens and come back; what cannot be read is named with its remedy."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pyarrow import csv

from in_memory import SETTINGS
from options import stated
from vaelab.core.spec import PADDING
from vaelab.corruptions import Identity
from vaelab.data.text.characters import characters_of_each
from vaelab.data.text.text import Text
from vaelab.data.text.tokens import Tokens
from vaelab.errors import ConfigError, DataError

LINES = [f"line {number} of {'very ' * (number % 5)}plain text" for number in range(40)]
READ = {key: value for key, value in SETTINGS.items() if key != "binarize"} | {"corruption": Identity()}


def text(path: Path | str, **settings: Any) -> Text:
    data = Text(**stated("data/text") | {"path": str(path), "data_dir": str(Path(path).parent)} | READ | settings)
    data.setup()
    return data


def written(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    return written(tmp_path / "lines.txt", "\n".join(LINES) + "\n")


def all_texts(data: Text) -> list[str]:
    return sorted(line for split in data.split for line in data.texts(data.clean(split)))


@pytest.mark.parametrize(
    "settings",
    [{}, {"tokens": "bpe", "vocabulary": 300}, {"unit": "window", "max_length": 7}],
    ids=["characters", "bpe", "windows"],
)
def test_text_comes_back_as_it_was(lines: Path, settings: dict[str, Any]) -> None:
    data = text(lines, **settings)
    if data.unit == "window":
        whole = torch.cat([data.clean(split) for split in data.split])
        order = torch.cat(list(data.split.values())).argsort()
        assert "".join(data._decoded(whole[order])) == "\n".join(LINES) + "\n"
        assert data.spec.end is None
    else:
        assert all_texts(data) == sorted(LINES)
        assert data.spec.end == data.spec.levels - 1
    assert data.spec.shape == (data.clean("train").shape[1],)
    assert data.spec.has_missing == bool((torch.cat([data.clean(split) for split in data.split]) == PADDING).any())


@pytest.mark.parametrize("tokens", ["characters", "bpe"])
@pytest.mark.parametrize("unit", ["line", "window"])
def test_blocks_of_texts_on_disk_are_the_texts(
    lines: Path, tokens: str, unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = text(lines, tokens=tokens, vocabulary=300, unit=unit, max_length=30)
    monkeypatch.setattr("vaelab.data.text.pieces.AT_ONCE", 7)
    monkeypatch.setattr("vaelab.data.examples.AT_ONCE", 7)
    monkeypatch.setattr(Text, "storage", "disk")
    disk = text(lines, tokens=tokens, vocabulary=300, unit=unit, max_length=30)
    assert disk._loaded.file is not None
    assert disk._loaded.values.dtype == whole._loaded.values.dtype == torch.int16
    assert disk.spec == whole.spec
    assert disk.fingerprint() == whole.fingerprint()
    for ours, theirs in zip(disk.train_dataloader(), whole.train_dataloader(), strict=True):
        assert torch.equal(ours.values, theirs.values)
        assert ours.steps == theirs.steps


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize("settings", [{"label": "kind"}, {"unit": "window", "max_length": 9}, {"limit": 15}])
def test_rows_on_disk_are_the_rows(
    tmp_path: Path, suffix: str, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"text": line, "kind": None if number % 3 == 0 else "ab"[number % 2]} for number, line in enumerate(LINES)]
    table = pa.Table.from_pylist(rows)
    if suffix == ".jsonl":
        written(tmp_path / "a.jsonl", "\n".join(json.dumps(row) for row in rows))
    else:
        (csv.write_csv if suffix == ".csv" else pq.write_table)(table, tmp_path / f"a{suffix}")
    whole = text(tmp_path / f"a{suffix}", **settings)
    monkeypatch.setattr("vaelab.data.text.pieces.AT_ONCE", 7)
    monkeypatch.setattr("vaelab.data.text.files.ROWS", 3)
    monkeypatch.setattr(Text, "storage", "disk")
    disk = text(tmp_path / f"a{suffix}", **settings)
    assert disk._loaded.file is not None
    assert disk.spec == whole.spec
    assert torch.equal(disk._loaded.values, whole._loaded.values)
    assert torch.equal(disk._loaded.label, whole._loaded.label)
    assert disk.fingerprint() == whole.fingerprint()


def test_memory_does_not_grow_with_a_text_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaelab.data.text.pieces.AT_ONCE", 100)
    monkeypatch.setattr("vaelab.data.text.files.AT_ONCE", 4096)
    monkeypatch.setattr(Text, "storage", "disk")
    peaks = []
    for times in (25, 25, 250):  # the first imports
        path = written(tmp_path / f"{times}.txt", "\n".join(LINES * times))
        tracemalloc.start()
        text(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    per_line = (peaks[2] - peaks[1]) / (len(LINES) * 225)
    assert per_line < 10  # bytes: the lines have 36 characters, and their tokens take 2 bytes each


@pytest.mark.parametrize("tokens", ["characters", "bpe"])
def test_half_a_character_is_shown_as_such(tmp_path: Path, tokens: str) -> None:
    """JSON can escape what no file can hold."""
    rows = [json.dumps({"text": line}) for line in LINES] + ['{"text": "half \\ud83d, \\ud83d\\ude00"}'] * 5
    data = text(written(tmp_path / "a.jsonl", "\n".join(rows)), tokens=tokens)
    assert all_texts(data) == sorted([*LINES, *["half \ufffd, \U0001f600"] * 5])


def test_a_file_is_checked_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In blocks, whose edges may lie within a character or between a return and a line feed."""
    monkeypatch.setattr("vaelab.data.text.files.AT_ONCE", 5)
    odd = ["naïve café", "日本語", "🎈🎈"] * 4
    content = "\r\n".join(odd).encode()
    assert all_texts(text(written(tmp_path / "a.txt", content))) == sorted(odd)
    with pytest.raises(DataError, match=r"is not utf-8 \(line 14\)"):
        text(written(tmp_path / "b.txt", content + b"\n\ncaf\xe9"))
    with pytest.raises(DataError, match=r"is not utf-8 \(line 12\)"):
        text(written(tmp_path / "c.txt", content + "é".encode()[:1]))


@pytest.mark.parametrize("tokens", ["characters", "bpe"])
def test_characters_are_counted_whatever_the_tokens(tmp_path: Path, tokens: str) -> None:
    """Characters of several bytes too; the end of a line counts as a line feed would."""
    rows = ["plain", "naïve café", "日本語 テキスト", "🎈🎈", "ß ¡hola!"]
    data = text(written(tmp_path / "a.txt", "\n".join(rows * 8)), tokens=tokens, vocabulary=270)
    values = data.clean("test")
    expected = [len(row) + 1 for row in data.texts(values)]
    assert characters_of_each(values, data.spec).tolist() == expected


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(tmp_path: Path, lines: Path) -> None:
    other = written(tmp_path / "w" / "lines.txt", b"\xef\xbb\xbf" + "\r\n".join(LINES).encode())
    assert all_texts(text(other)) == all_texts(text(lines))
    assert all_texts(text(other, unit="window")) == all_texts(
        text(written(tmp_path / "n.txt", "\n".join(LINES)), unit="window")
    )


def test_empty_lines_are_no_examples(tmp_path: Path) -> None:
    data = text(written(tmp_path / "a.txt", "\n\n".join(LINES) + "\n   \n\t\n"))
    assert all_texts(data) == sorted(LINES)


def test_rows_of_json_tables_and_files_are_the_same_examples(tmp_path: Path, lines: Path) -> None:
    rows = [{"body": line, "kind": str(number % 2)} for number, line in enumerate(LINES)]
    jsonl = written(tmp_path / "a.jsonl", "\n".join(json.dumps(row) for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    plain = text(lines)
    for path in (jsonl, tmp_path / "a.parquet"):
        data = text(path, field="body", label="kind")
        assert all_texts(data) == all_texts(plain)
        assert data.spec.classes == ("0", "1")
        assert torch.equal(data.clean("test"), plain.clean("test"))
        for line, label in zip(data.texts(data.clean("test")), data.labels("test").tolist(), strict=True):
            assert LINES.index(line) % 2 == label


def test_files_named_after_splits_are_splits(tmp_path: Path) -> None:
    for name, part in {
        "train-1": LINES[:15],
        "train-2": LINES[15:30],
        "valid": LINES[30:35],
        "test": LINES[35:],
    }.items():
        written(tmp_path / "set" / f"{name}.txt", "\n".join(part))
    written(tmp_path / "set" / "train-3.txt", "")  # an empty one among others adds nothing
    data = text(tmp_path / "set")
    assert data.texts(data.clean("test")) == LINES[35:]
    assert data.texts(data.clean("val")) == LINES[30:35]
    assert len(data.split["train"]) == 30


@pytest.mark.parametrize("tokens", ["characters", "bpe"])
def test_tokens_are_found_in_train_alone(tmp_path: Path, tokens: str) -> None:
    """What test alone has is unknown, or bytes; it is no error and changes no token."""
    sets = {}
    for name, odd in (("plain", "line"), ("odd", "Ω≈ç√ line")):
        folder = tmp_path / name
        written(folder / "train.txt", "\n".join(LINES))
        written(folder / "test.txt", f"{odd}\nline")
        sets[name] = text(folder, tokens=tokens, vocabulary=300)
    plain, odd = sets["plain"], sets["odd"]
    assert odd.tokens.to_json() == plain.tokens.to_json()
    values = odd.clean("test", 1)
    if tokens == "characters":
        assert (values == odd.tokens.unknown).sum() == 4
        assert odd.texts(values) == ["���� line"]
    else:
        assert odd.tokens.unknown is None
        assert odd.texts(values) == ["Ω≈ç√ line"]


def test_rare_characters_become_unknown_beyond_the_vocabulary(lines: Path) -> None:
    data = text(lines, vocabulary=8)
    assert data.spec.levels == 8
    assert (data.clean("train") == data.tokens.unknown).any()


@pytest.mark.parametrize("tokens", ["characters", "bpe"])
def test_tokens_kept_with_a_model_are_the_same(tmp_path: Path, lines: Path, tokens: str) -> None:
    data = text(lines, tokens=tokens, vocabulary=300)
    for name, content in data.files().items():
        written(tmp_path / name, content)
    kept = Tokens.load(tmp_path)
    assert (kept.end, kept.characters) == (data.tokens.end, data.tokens.characters)
    for one, other in zip(kept.encode(LINES), data.tokens.encode(LINES), strict=True):
        assert one.tolist() == other.tolist()
    assert [kept.decode(row.tolist()) for row in kept.encode(LINES)] == LINES
    by_library = kept.tokenizer.encode(LINES[3]).ids
    assert by_library == kept.encode(LINES[3:4])[0].tolist()


def test_markup_in_a_text_is_text(tmp_path: Path) -> None:
    """No text can end an example or hide a character."""
    odd = ["<unknown> <end> </s>", "[UNK][PAD]"]
    data = text(written(tmp_path / "a.txt", "\n".join(odd * 10)))
    assert set(all_texts(data)) == set(odd)


def test_longer_lines_are_cut_without_an_end_or_dropped(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", "\n".join(["abc", "abcdefgh"] * 10))
    cut = text(path, max_length=4)
    assert set(all_texts(cut)) == {"abc", "abcd"}
    ends = [(row == cut.spec.end).any().item() for row in cut.clean("train")]
    assert [line == "abc" for line in cut.texts(cut.clean("train"))] == ends
    assert all_texts(text(path, max_length=4, longer="drop")) == ["abc"] * 10


def test_a_limit_draws_the_same_examples_each_time(lines: Path) -> None:
    few = all_texts(text(lines, limit=20))
    assert len(few) == 20
    assert few == all_texts(text(lines, limit=20, seed=7))
    assert few != all_texts(text(lines, limit=20, split_seed=7))


@pytest.mark.parametrize(
    ("name", "content", "settings", "said"),
    [
        ("a.txt", b"", {}, "a.txt: is empty"),
        ("a.txt", b" \r\n\r\n", {}, "a.txt: is empty"),
        ("a.txt", b"just one line", {}, "data.unit=window"),
        (
            "a.txt",
            b"fine\ncaf\xe9\n",
            {},
            "a.txt: is not utf-8 (line 2); name its encoding, such as data.encoding=latin-1",
        ),
        ("a.txt", "plain\ntext".encode("utf-16"), {}, "data.encoding=utf-16"),
        ("a.txt", b"text", {"encoding": "latin-99"}, "data.encoding=latin-99"),
        ("a.txt", b"text", {"encoding": "rot13"}, "data.encoding=rot13"),
        ("a.txt", b"text", {"label": "kind"}, "data.label=kind"),
        ("a.jsonl", b'{"text": "a"}\nnot json\n', {}, "a.jsonl: line 2 is no JSON"),
        ("a.jsonl", b'{"body": "a"}\n', {}, "a.jsonl: line 1 has no field data.field=text"),
        ("a.jsonl", b'{"text": 3}\n', {}, "line 1: the field text holds no text"),
        ("a.jsonl", b"[1]\n", {}, "line 1 is no JSON object"),
        ("a.txt", b"a\nb\nc\nd\n" * 9, {"tokens": "bpe", "vocabulary": 100}, "data.vocabulary=100"),
        ("deep/a.pdf", b"x", {}, "holds no .txt"),
        ("deep/test.txt", b"x", {}, "has no train split"),
    ],
)
def test_what_cannot_be_read_is_one_message(
    tmp_path: Path, name: str, content: bytes, settings: dict[str, Any], said: str
) -> None:
    path = written(tmp_path / name, content)
    with pytest.raises((DataError, ConfigError)) as refused:
        text(path.parent if name.startswith("deep") else path, **settings)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_folder_is_read_with_its_links_and_says_what_it_skips(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "far/b.TXT", "b\n" * 9)
    written(tmp_path / "mine/a.txt", "a\n" * 9)
    written(tmp_path / "mine/c.pdf", "c")
    written(tmp_path / "mine/LICENSE", "c")
    written(tmp_path / "mine/.git/d.txt", "d")
    (tmp_path / "mine/linked").symlink_to(tmp_path / "far")
    (tmp_path / "mine/loop").symlink_to(tmp_path)
    assert all_texts(text(tmp_path / "mine")) == ["a"] * 9 + ["b"] * 9
    told = capsys.readouterr().err
    assert "2 files are skipped, since the suffix is not that of a text (no suffix 1, .pdf 1): LICENSE, c.pdf" in told
    assert "1 link is not followed" in told


def test_all_files_that_cannot_be_read_are_named_at_once(tmp_path: Path) -> None:
    for name, content in (("a.txt", b"fine\n"), ("b.txt", b"caf\xe9\n"), ("c.csv", b""), ("d.txt", b"\xff\n")):
        written(tmp_path / "x" / name, content)
    with pytest.raises(DataError, match=r"3 of 4 files cannot be used: .*b\.txt: is not .*c\.csv: .*; .*d\.txt: is"):
        text(tmp_path / "x")


def test_latin_1_is_read_when_named(tmp_path: Path) -> None:
    data = text(written(tmp_path / "a.txt", "\n".join(["café", "thé"] * 10).encode("latin-1")), encoding="latin-1")
    assert set(all_texts(data)) == {"café", "thé"}


def test_no_path_and_no_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.path needs"):
        Text(**stated("data/text") | {"path": None, "data_dir": "."} | READ)
    with pytest.raises(DataError, match="no such file or folder"):
        text(tmp_path / "none.txt")


def test_lines_are_written_as_lines_and_windows_as_json(lines: Path) -> None:
    data = text(lines)
    assert data.written("samples/a", data.clean("test"))["samples/a.txt"] == "".join(
        f"{line}\n" for line in data.texts(data.clean("test"))
    )
    windows = text(lines, unit="window")
    (name, content), *_ = windows.written("a", windows.clean("test")).items()
    assert name == "a.jsonl"
    assert [json.loads(row)["text"] for row in str(content).splitlines()] == windows._decoded(windows.clean("test"))
