"""A model on the hub: what is shared, the card, and that it comes back the same."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import vaelab
from hub_server import serving
from saved_models import people, table_run
from vaelab.errors import UserError
from vaelab.trained.facts import without_places
from vaelab.trained.hub import is_hub_id, lay_out


def shell(address: str, home: Path, *words: object) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {
        "HF_ENDPOINT": address,
        "HF_HOME": str(home / "hf"),
        "HF_TOKEN": "hf_test",
        "NO_PROXY": "*",
    }
    command = [sys.executable, "-m", "vaelab", *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_a_folder_is_laid_out_as_a_repository(tmp_path: Path) -> None:
    run = table_run(tmp_path)
    (run / "environment.json").write_text(
        json.dumps({"command": "python train.py data=table data.path=/home/me/x.csv"})
    )
    trained = vaelab.load(run)
    lay_out(trained, tmp_path / "shared", "me/people", "mit")
    names = {path.name for path in (tmp_path / "shared").iterdir()}
    assert names == {"README.md", "config.json", "model.json", "model.safetensors", "data.json", "table.json"}
    card = (tmp_path / "shared/README.md").read_text()
    header = yaml.safe_load(card.split("---")[1])
    assert header["library_name"] == "vaelab"
    assert header["license"] == "mit"
    assert "pytorch_model_hub_mixin" in header["tags"]
    assert "data.path=<path>" in card
    assert "/home/me" not in card
    assert json.loads((tmp_path / "shared/config.json").read_text())["architecture"] == trained.model.architecture
    again = vaelab.load(tmp_path / "shared")
    assert np.array_equal(again.encode(people(5)), trained.encode(people(5)))


@pytest.mark.long
def test_a_model_is_pushed_pulled_and_used_by_its_name(tmp_path: Path) -> None:
    run = table_run(tmp_path)
    with serving() as hub:
        done = shell(hub.address, tmp_path, "push", run, "me/people", "--private")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("pushed to ")
        assert "model.safetensors" in hub.files["me/people"]
        hub.files["me/people"]["evil.py"] = b"raise SystemExit"
        done = shell(hub.address, tmp_path, "pull", "me/people", "-o", tmp_path / "pulled")
        assert done.returncode == 0, done.stderr
        assert not (tmp_path / "pulled/evil.py").exists()
        done = shell(hub.address, tmp_path, "info", "me/people", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["columns"] == ["age", "children", "city", "since"]
        done = shell(hub.address, tmp_path, "pull", "me/nothing", "-o", tmp_path / "none")
        assert done.returncode == 1
        assert done.stderr.startswith("error: me/nothing: cannot be downloaded from the hub")
        hub.files["me/other"] = {"README.md": b"x"}
        done = shell(hub.address, tmp_path, "sample", "me/other", "-o", tmp_path / "s")
        assert done.returncode == 1
        assert "holds no model of vaelab" in done.stderr
    assert np.array_equal(vaelab.load(tmp_path / "pulled").encode(people(5)), vaelab.load(run).encode(people(5)))


def test_what_is_no_repository_is_a_folder(tmp_path: Path) -> None:
    assert is_hub_id("me/model-1.0")
    assert not any(map(is_hub_id, ("model", "me/a/b", "../model", "me/..", "/me/model", "me/model/", "~/model")))
    with pytest.raises(UserError, match="nowhere: holds no model"):
        vaelab.load("nowhere")


def test_paths_are_left_out_of_a_command() -> None:
    command = "python /home/me/train.py task=anomaly 'data.path=/data/a b.csv' latent_dim=2"
    assert without_places(command) == "python train.py task=anomaly data.path=<path> latent_dim=2"
    assert without_places("an 'open quote") == ""
