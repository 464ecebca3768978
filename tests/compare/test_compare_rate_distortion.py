"""The curve that `vaelab compare` draws of compression runs."""

import json
from pathlib import Path

import yaml

from vaelab.compare.command import compare


def write_run(folder: Path, latent_dim: int, quantised: bool = True) -> None:
    numbers = {"test/mse": 0.1 / latent_dim, "baseline/pca/mse": 0.2 / latent_dim}
    for bits in (2, 3) if quantised else ():
        for prefix, mse in ("test/", 0.1), ("baseline/pca/", 0.2):
            numbers[f"{prefix}mse_{bits}bit"] = mse / latent_dim + 4.0**-bits
            numbers[f"{prefix}bits_coded_{bits}bit"] = float(bits * latent_dim)
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(numbers))
    (folder / "config.yaml").write_text(yaml.safe_dump({"task": {"_target_": "vaelab.tasks.Compression"}}))
    (folder / "overrides.yaml").write_text(yaml.safe_dump([f"latent_dim={latent_dim}", "model.beta=0.1"]))


def test_quantised_runs_give_a_curve(tmp_path: Path) -> None:
    for number, latent_dim in enumerate((4, 8)):
        write_run(tmp_path / str(number), latent_dim)
    compare([str(tmp_path)])
    assert (tmp_path / "rate_distortion.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "comparison.html").read_text().count("<img") == 2


def test_one_run_and_runs_without_rates_give_none(tmp_path: Path) -> None:
    write_run(tmp_path / "0", 4)
    write_run(tmp_path / "1", 8, quantised=False)
    compare([str(tmp_path)])
    assert not (tmp_path / "rate_distortion.png").exists()
    assert (tmp_path / "comparison.html").read_text().count("<img") == 1
