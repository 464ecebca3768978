"""A model out of proportion to its data, or to the machine, is named before memory is taken for it."""

from typing import Any

import pytest

from vaelab.config.builder import Builder
from vaelab.core import DataSpec
from vaelab.errors import ConfigError
from vaelab.models.proportion import refuse_too_large

FASHION = DataSpec("fashion", "image", (1, 28, 28), "unit", 256)
VECTOR: dict[str, Any] = {"_target_": "vaelab.latents.Vector"}
GRID: dict[str, Any] = {"_target_": "vaelab.latents.Grid", "downsample": 4}


def about(backbone: str, latent: dict[str, Any], latent_dim: int, **settings: Any) -> dict[str, Any]:
    sides = {side.lower(): {"_target_": f"vaelab.backbones.{backbone}{side}"} | settings for side in SIDES}
    model, likelihood = {"_target_": "vaelab.models.VAE"}, {"_target_": "vaelab.likelihoods.Gaussian", "sigma": 1.0}
    plain = {"latent_dim": latent_dim, "spec": FASHION.to_json(), "latent": latent}
    return plain | sides | {"model": model, "likelihood": likelihood}


SIDES = ("Encoder", "Decoder")


def test_a_code_larger_than_the_example_is_named_with_its_layer(capsys: pytest.CaptureFixture[str]) -> None:
    refuse_too_large(about("spatial.Spatial", VECTOR, 4200, widths=[32, 64], blocks=1), Builder(), 54_000)
    said = capsys.readouterr().err
    for part in (
        "the code of an example has 4,200 dimensions (latent_dim=4200)",
        "an example has only 784 values",
        "encoder.net.5.weight, 8,400 x 3,136 = 26.3 million weights",
        "latent_dim=4200 and encoder.widths=[32,64]",
        "latent=grid, where latent_dim is the number of dimensions of each cell",
    ):
        assert part in said
    assert said.count("\n") == 1


def test_more_weights_than_train_values_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    node = about("MLP", VECTOR, 16, hidden=[10_000], activation="relu")
    refuse_too_large(node | {"encoder": node["encoder"] | {"hidden": [10_000, 8_000]}}, Builder(), 54_000)
    said = capsys.readouterr().err
    assert "96.1 million weights, and the train split has only 42.3 million values" in said
    assert "encoder.net.3.weight, 8,000 x 10,000 = 80 million weights" in said
    assert "encoder.hidden=[10000,8000]" in said


@pytest.mark.parametrize(
    "node",
    [
        about("spatial.Spatial", GRID, 16, widths=[32, 64], blocks=1),
        about("MLP", VECTOR, 16, hidden=[512, 512], activation="relu"),
        about("MLP", VECTOR, 1_568, hidden=[512, 512], activation="relu"),
    ],
    ids=["grid", "vector", "twice the values"],
)
def test_a_model_in_proportion_is_not_spoken_of(node: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    refuse_too_large(node, Builder(), 54_000)
    assert not capsys.readouterr().err


def test_weights_beyond_memory_are_refused_without_taking_any() -> None:
    with pytest.raises(ConfigError, match=r"GiB of memory; .*encoder\.hidden=\[1000000,1000000\], choose smaller ones"):
        refuse_too_large(about("MLP", VECTOR, 16, hidden=[10**6, 10**6], activation="relu"), Builder(), 54_000)


def test_a_run_says_it_before_it_trains(train: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(
        "debug=fdr", "model=ae", "task=compression", "task.baselines=false", "encoder.hidden=[8]", "latent_dim=300"
    )
    assert "the code of an example has 300 dimensions (latent_dim=300)" in capsys.readouterr().err
    assert run.is_dir()
