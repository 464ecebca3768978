"""Generated music: frames that are there are counted, baselines stand beside, files can be played."""

import json
from pathlib import Path
from typing import Any

import pytest

from in_memory_music import piece
from vaelab.data.music.midi_files import read_midi, write_midi

pytest.importorskip("mido")


@pytest.mark.parametrize(
    ("form", "likelihood", "encoder"),
    [("tokens", "categorical", "music"), ("roll", "bernoulli", "music"), ("roll", "bernoulli", "transformer")],
)
@pytest.mark.long
def test_a_run_on_a_folder_of_files(train: Any, tmp_path: Path, form: str, likelihood: str, encoder: str) -> None:
    folder = tmp_path / "songs"
    folder.mkdir()
    for number in range(8):
        (folder / f"{number}.mid").write_bytes(write_midi(piece("", number, 30 + number).voices, 4))
    run = train(
        "data=midi", f"data.path={folder}", f"data.form={form}", f"likelihood={likelihood}", f"encoder={encoder}",
        "data.steps=16", "encoder.width=16", "decoder.width=16", "latent_dim=4", "trainer.max_epochs=1",
        "task.nll_samples=3", "task.fid_samples=4", f"task.data_dir={tmp_path}", f"paths.data_dir={tmp_path}",
    )  # fmt: skip
    numbers = json.loads((run / "metrics.json").read_text())
    assert 0 < numbers["test/nll_per_step"] < numbers["test/nll"]
    assert numbers["baseline/markov/nll_per_step"] > 0
    for name in ("pitch_class", "interval", "duration"):
        assert 0 <= numbers[f"test/{name}_distance"] <= 1
        assert 0 <= numbers[f"baseline/train_split/{name}_distance"] <= 1
    for name in ("samples", "interpolation", "interpolation_drawn", "note_statistics"):
        assert (run / "figures" / f"{name}.png").is_file()
    about = json.loads((run / "model" / "music.json").read_text())
    assert about["form"] == form
    assert read_midi(run / "samples" / "originals-01.mid", about["steps_per_quarter"]).steps <= 16
