"""Windows of pieces: no work in two splits, every frame of evaluation once, other keys in training alone."""

from pathlib import Path
from typing import Any

import pytest
import torch

from in_memory_music import Songs, piece, songs
from options import stated
from vaelab.core.spec import observed_steps
from vaelab.corruptions import Identity
from vaelab.data.music import corpus
from vaelab.data.music.chorales import Chorales
from vaelab.data.music.midi import Midi
from vaelab.data.music.midi_files import read_midi, write_midi
from vaelab.data.music.music import cut
from vaelab.data.music.notes import HOLD, Note, Piece, from_tokens, to_tokens, tokens_to_roll
from vaelab.data.music.transposition import transposed_tokens
from vaelab.errors import ConfigError, DataError

pytest.importorskip("mido")


def midi(folder: Path, model: Path | None = None, **settings: Any) -> Midi:
    given = {
        "path": str(folder), "data_dir": "", "form": "roll", "steps": 16, "hop": 4, "steps_per_quarter": 4,
        "transpose": 2, "batch_size": 4, "val_fraction": 0.2, "test_fraction": 0.2, "split_seed": 0, "seed": 0,
    }  # fmt: skip
    data = Midi(**stated("data/midi") | {"corruption": Identity()} | given | settings)
    if model is not None:
        data.prepare_as(model)
    data.setup()
    return data


def write(folder: Path, count: int = 5) -> None:
    for number in range(count):
        (folder / f"{number}.mid").write_bytes(write_midi(piece("", number).voices, 4))


@pytest.mark.parametrize("form", ["tokens", "roll"])
def test_every_frame_of_evaluation_counts_once(form: str) -> None:
    data = songs(form=form)
    lengths = {35 + number for number in range(10)}
    for split in ("val", "test"):
        frames = int(observed_steps(data.clean(split)).sum())
        assert frames in {a + b for a in lengths for b in lengths}  # of the two pieces in it
    assert data.spec.has_missing


@pytest.mark.parametrize("steps", [1, 5, 16, 17, 40])
@pytest.mark.parametrize("hop", [1, 4, 16, 50])
def test_windows_cover_a_piece_and_none_is_empty(steps: int, hop: int) -> None:
    whole = torch.arange(17).view(1, -1).short() + 2
    windows = cut(whole, steps, min(hop, steps), "tokens")
    assert set(windows[windows >= 0].tolist()) == set(range(2, 19))
    assert (windows >= 0).flatten(1).any(1).all()


def test_a_window_within_a_note_begins_with_its_pitch() -> None:
    whole = to_tokens(piece("a", 2), 36)
    for window in cut(whole, 8, 3, "tokens"):
        assert (window[:, 0] != HOLD).all()


def test_versions_of_a_work_share_a_split() -> None:
    pieces = [piece(str(number), number) for number in range(8)]
    higher = [Piece(p.name, tuple(tuple(n._replace(pitch=n.pitch + 2) for n in v) for v in p.voices)) for p in pieces]
    data = Songs(pieces + higher, hop=16)
    own = {split: {_shape(window) for window in data.clean(split)} for split in ("train", "val", "test")}
    assert not own["train"] & own["test"]
    assert not own["train"] & own["val"]
    assert not own["val"] & own["test"]
    assert Songs(pieces + higher, hop=16).fingerprint() == data.fingerprint()


def _shape(window: torch.Tensor) -> str:
    """A window in any key."""
    base = int(window[window >= 2].min())
    return str(torch.where(window >= 2, window - base + 2, window).tolist())


@pytest.mark.parametrize("form", ["tokens", "roll"])
def test_train_examples_change_key_and_others_do_not(form: str) -> None:
    data = songs(form=form)
    raw = next(iter(data.train_dataloader()))
    batch = data.on_after_batch_transfer(raw, 0)
    again = data.on_after_batch_transfer(raw, 0)
    assert torch.equal(batch.x.nan_to_num(-1), again.x.nan_to_num(-1))
    plain = songs(form=form, transpose=0)
    before = plain.on_after_batch_transfer(next(iter(plain.train_dataloader())), 0)
    assert not torch.equal(batch.x.nan_to_num(-1), before.x.nan_to_num(-1))
    torch.testing.assert_close(batch.x.nan_to_num(-1), batch.target.nan_to_num(-1))
    for split in ("train", "val", "test"):
        evaluated = torch.cat([b.x for b in data.batches(split)])
        torch.testing.assert_close(evaluated, data.clean(split), equal_nan=True)


def test_tokens_and_roll_of_a_batch_are_in_the_same_key() -> None:
    """One short batch of all windows: tokens are put into batches by length, rolls are not."""
    tokens, roll = (songs(form=form, batch_size=10_000) for form in ("tokens", "roll"))
    pairs = zip(tokens.train_dataloader(), roll.train_dataloader(), strict=True)
    for a, b in pairs:
        voices, pitches = tokens.on_after_batch_transfer(a, 0).x, roll.on_after_batch_transfer(b, 0).x
        expected = tokens_to_roll(voices, roll.spec.shape[0]).float()
        torch.testing.assert_close(expected, pitches.nan_to_num(-1))


def test_a_range_that_does_not_hold_all_notes_is_refused() -> None:
    with pytest.raises(ConfigError, match="pitches"):
        songs(pitches=[60, 62])
    assert songs(pitches=[0, 127], form="roll").spec.shape[0] == 128


def test_a_checkpoint_is_evaluated_at_its_own_pitches(tmp_path: Path) -> None:
    tunes = {
        "before": lambda number, step: 60 + (number + step) % 4,
        "within": lambda number, step: 61 + (number >> step) % 2,
        "beyond": lambda number, step: 90 + (number + step) % 4,
    }
    for name, pitch in tunes.items():
        (tmp_path / name).mkdir()
        for number in range(4):
            notes = tuple(Note(4 * step, 4, pitch(number, step)) for step in range(4))
            (tmp_path / name / f"{number}.mid").write_bytes(write_midi((notes,), 4))
    before = midi(tmp_path / "before")
    (tmp_path / "music.json").write_text(str(before.files()["model/music.json"]))
    within = midi(tmp_path / "within", tmp_path)
    assert (within.lowest, within.spec.shape) == (before.lowest, before.spec.shape) == (60, (4, 16))
    with pytest.raises(ConfigError, match="pitches"):
        midi(tmp_path / "beyond", tmp_path)


def test_too_few_works_are_refused() -> None:
    with pytest.raises(DataError, match="3 works"):
        songs(2)


def test_written_examples_are_their_notes(tmp_path: Path) -> None:
    data = songs()
    values = data.clean("test", 3)
    files = data.written("samples/x", values)
    assert sorted(files) == [f"samples/x-0{number}.{kind}" for number in (1, 2, 3) for kind in ("mid", "wav")]
    for number, value in enumerate(values, 1):
        content = files[f"samples/x-0{number}.mid"]
        path = tmp_path / "a.mid"
        assert isinstance(content, bytes)
        path.write_bytes(content)
        assert [list(v) for v in read_midi(path, 4).voices] == [v for v in from_tokens(value, data.lowest) if v]
    assert data.pictures("x", values)["x"].axes


@pytest.mark.parametrize("form", ["tokens", "roll"])
def test_a_folder_of_files_is_read(tmp_path: Path, form: str) -> None:
    write(tmp_path)
    data = midi(tmp_path, form=form)
    assert data.spec.kind == form
    assert data.spec.name == tmp_path.name
    copies = [read_midi(path, 4) for path in sorted(tmp_path.glob("*.mid"))]
    assert data.lowest == min(p.pitches[0] for p in copies)


def test_bad_files_may_be_left_out_and_links_are_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("far", "mine"):
        (tmp_path / name).mkdir()
    write(tmp_path / "far", 7)
    (tmp_path / "mine/linked").symlink_to(tmp_path / "far")
    for name in ("bad.mid", "worse.KAR", "score.pdf", "._0.mid"):
        (tmp_path / "mine" / name).write_bytes(b"x")
    with pytest.raises(DataError, match=r"2 of 9 files cannot be used .*bad\.mid.*worse\.KAR.*data\.skip_broken=true"):
        midi(tmp_path / "mine")
    capsys.readouterr()
    pieces, _ = midi(tmp_path / "mine", skip_broken=True).pieces()
    assert len(pieces) == 7
    told = capsys.readouterr().err
    assert "2 of 9 files cannot be used and are left out (bad.mid" in told
    assert "1 file is skipped, since the suffix is not that of a MIDI file (.pdf 1): score.pdf" in told
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/a.mid").write_bytes(b"x")
    with pytest.raises(DataError, match="1 of 1 files"):
        midi(tmp_path / "bad", skip_broken=True)


def test_bad_files_are_named_together(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "text.mid").write_bytes(b"no music")
    (tmp_path / "empty.midi").write_bytes(b"")
    (tmp_path / "silent.MID").write_bytes(write_midi([[]], 4))
    with pytest.raises(DataError) as refused:
        midi(tmp_path)
    for name in ("text.mid", "empty.midi", "silent.MID", "3 of 8"):
        assert name in str(refused.value)


def test_an_empty_folder_and_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \.mid"):
        midi(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        midi(tmp_path / "absent")


def test_files_of_one_note_are_examples(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.mid").write_bytes(write_midi([[Note(0, number + 1, 60)]], 4))
    assert midi(tmp_path, transpose=0).spec.shape == (1, 16)


def test_voices_that_do_not_fit_are_refused_with_what_would(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(DataError, match=r"data\.voices=3; data\.form=roll"):
        midi(tmp_path, form="tokens", voices=3)
    (tmp_path / "chord.mid").write_bytes(write_midi([[Note(0, 4, 60), Note(0, 4, 64)], *[[Note(0, 4, 50)]] * 3], 4))
    with pytest.raises(DataError, match="chord"):
        midi(tmp_path, form="tokens")


CHORALES: dict[str, Any] = {
    "form": "tokens", "steps": 64, "hop": 16, "steps_per_quarter": 4, "transpose": 5, "batch_size": 8,
    "val_fraction": 0.3, "test_fraction": 0.3, "split_seed": 0, "seed": 0,
}  # fmt: skip


class Few(Chorales):
    """Four files of the corpus."""

    reads = 0

    def sources(self) -> list[Path]:
        type(self).reads += 1
        wanted = ("bwv269.mxl", "bwv66.6.mxl", "bwv347.mxl", "bwv846.mxl")
        return [path for path in corpus.chorale_files() if path.name in wanted]


def test_chorales_are_read_once_and_what_has_not_four_voices_is_left_out(tmp_path: Path) -> None:
    pytest.importorskip("music21")
    first, second = (Few(corruption=Identity(), data_dir=str(tmp_path), **CHORALES) for _ in range(2))
    first.setup()
    second.setup()
    assert Few.reads == 1
    assert first.fingerprint() == second.fingerprint()
    assert first.spec.shape == (4, 64)
    pieces, works = second.pieces()
    assert [p.name for p in pieces] == ["bwv269", "bwv347", "bwv66.6"]
    assert len(set(works)) == 3
    soprano = [note.pitch for note in pieces[2].voices[0][:6]]
    assert soprano == [73, 71, 69, 71, 73, 76]  # BWV 66.6 as printed: C sharp, B, A, B, C sharp, E


def test_without_the_package_one_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise corpus.PackageNotFoundError(name)

    monkeypatch.setattr(corpus, "version", absent)
    with pytest.raises(DataError, match=r"vaelab\[music\]"):
        Chorales(corruption=Identity(), data_dir=str(tmp_path), **CHORALES).setup()


def test_numbers_of_works_are_shared_by_movements_and_variants() -> None:
    assert corpus.work_number("bwv248.9-s") == corpus.work_number("bwv248.12-2") == "248"
    assert corpus.work_number("bwv24.6") == "24"


def test_a_chord_that_leaves_the_range_stays() -> None:
    tokens = torch.tensor([[[2, 10], [5, 1]]])
    assert torch.equal(transposed_tokens(tokens, torch.tensor([-1]), 11), tokens)
    assert transposed_tokens(tokens, torch.tensor([1]), 12).tolist() == [[[3, 11], [6, 1]]]
