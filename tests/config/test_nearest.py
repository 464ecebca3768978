import pytest

from vaelab.config.nearest import did_you_mean, nearest

KNOWN = ["model", "model.beta", "model.schedule.steps", "optimizer.lr", "trainer.devices", "latent_dim"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("modle", "model"),
        ("latentdim", "latent_dim"),
        ("model.betta", "model.beta"),
        ("beta", "model.beta"),  # right name, no folder
        ("trainer.lr", "optimizer.lr"),  # right name, wrong folder
        ("model.schedule.step", "model.schedule.steps"),
        ("trainer.zzz", None),  # alike in its folder only
        ("nothing.like.it", None),
    ],
)
def test_the_nearest_name_is_compared_within_its_folder(typed: str, meant: str | None) -> None:
    assert nearest(typed, KNOWN) == meant


def test_without_a_near_name_the_folder_is_listed() -> None:
    assert did_you_mean("trainer.zzz", KNOWN) == "known here: trainer.devices"
    assert did_you_mean("zzz", map(str, range(100))) == "see --help for all names"
