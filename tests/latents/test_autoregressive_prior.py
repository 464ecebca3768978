"""A transformer over indices: it learns dependences that counts cannot, and comes back as it was."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vaelab.errors import CheckpointError
from vaelab.evaluation import autoregressive_prior, fitted_priors
from vaelab.evaluation.autoregressive_prior import Autoregressive
from vaelab.evaluation.fitted_priors import read_fitted_prior
from vaelab.latents import LatentGroup, LatentSpec
from vaelab.latents.fitted import Codes, Counts
from vaelab.training.beside import Budget, train_beside

LATENT = LatentSpec((LatentGroup((2, 2, 2), (2, 2), 3),))
CPU = torch.device("cpu")
SMALL: dict[str, Any] = {"width": 16, "layers": 1, "heads": 2, "batch_size": 32, "lr": 1e-2}


def model_of(latent: LatentSpec) -> Any:
    """As far as a reader of priors looks at a model."""
    return SimpleNamespace(latent=latent, condition=None)


def chains(count: int, seed: int) -> torch.Tensor:
    """Each index is the one before it, or, in one case of ten, the next higher one; the first is any."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(3, (count, 1), generator=generator)
    steps = (torch.rand(count, 3, generator=generator) < 0.1).long()
    return torch.cat([first, (first + steps.cumsum(1)) % 3], dim=1)


def codes(folder: Path | None = None) -> Codes:
    return Codes(chains(400, 0), chains(100, 1), LATENT, CPU, folder=folder)


@pytest.fixture(scope="module")
def trained() -> Autoregressive:
    fitted = Autoregressive(steps=150, **SMALL).fit(codes())
    assert isinstance(fitted, Autoregressive)
    return fitted


def everything() -> torch.Tensor:
    return torch.cartesian_prod(*[torch.arange(3)] * 4)


def test_it_finds_what_counts_cannot(trained: Autoregressive) -> None:
    """Under the true chain an example has log 3 + 3 H(0.1) = 2.07 nats; independent indices have 4 log 3 = 4.39."""
    test = chains(2_000, 2)
    nll = -trained.log_prob(test).mean().item()
    assert -Counts().fit(codes()).log_prob(test).mean().item() == pytest.approx(4.39, abs=0.05)
    assert 2.0 < nll < 2.3


def test_its_probabilities_sum_to_1_and_its_draws_follow_them(trained: Autoregressive) -> None:
    probability = trained.log_prob(everything()).double().exp()
    assert probability.sum().item() == pytest.approx(1, abs=1e-4)
    drawn = trained.sample(4_000, seed=3)
    assert drawn.shape == (4_000, 4)
    places = (drawn * torch.tensor([27, 9, 3, 1])).sum(1)
    share = places.bincount(minlength=81) / 4_000
    torch.testing.assert_close(share.double(), probability, atol=0.025, rtol=0)
    assert torch.equal(drawn, trained.sample(4_000, seed=3))
    assert not torch.equal(drawn, trained.sample(4_000, seed=4))


def test_a_low_temperature_draws_what_is_likeliest(trained: Autoregressive) -> None:
    cold, warm = (trained.log_prob(trained.sample(500, seed=1, temperature=t)).mean() for t in (0.2, 1.0))
    assert cold > warm


def test_saved_and_loaded_it_is_the_same_bit_for_bit(trained: Autoregressive, tmp_path: Path) -> None:
    for name, content in fitted_priors.files(trained).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    again = read_fitted_prior(tmp_path / "model", model_of(LATENT))
    assert again is not None
    assert again.settings == trained.settings
    assert torch.equal(again.log_prob(everything()), trained.log_prob(everything()))
    assert torch.equal(again.sample(50, seed=1), trained.sample(50, seed=1))
    with pytest.raises(CheckpointError, match=r"fitted_prior\.json"):
        read_fitted_prior(tmp_path / "model", model_of(LatentSpec((LatentGroup((2, 2, 3), (2, 3), 3),))))


@pytest.mark.filterwarnings("ignore:Checkpoint directory")  # which runs do not show
@pytest.mark.parametrize("steps", [26, 30], ids=["at the end of an epoch", "within one"])
def test_an_interrupted_fit_goes_on_from_its_checkpoints(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle and fitted again in the same folder, it ends where an uninterrupted fit ends."""
    whole = Autoregressive(steps=52, **SMALL).fit(codes(tmp_path / "whole"))
    seen: list[str] = []

    def half(model: Any, data: Any, optimization: Any, budget: Budget, *more: Any) -> Any:
        return train_beside(model, data, optimization, Budget(steps, budget.total, clip=budget.clip), *more)

    with monkeypatch.context() as patched:
        patched.setattr(autoregressive_prior, "train_beside", half)
        Autoregressive(steps=52, **SMALL).fit(codes(tmp_path / "parts"))
    told = Codes(chains(400, 0), chains(100, 1), LATENT, CPU, folder=tmp_path / "parts", say=seen.append)
    again = Autoregressive(steps=52, **SMALL).fit(told)
    assert int(seen[0].split()[1]) >= 26
    torch.testing.assert_close(again.log_prob(everything()), whole.log_prob(everything()), rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:Checkpoint directory")
def test_a_fit_to_other_codes_begins_anew(tmp_path: Path) -> None:
    """As where a run is resumed: its model, and so its codes, have changed since the prior was fitted."""
    seen: list[str] = []
    Autoregressive(steps=13, **SMALL).fit(codes(tmp_path))
    others = Codes(chains(400, 5), chains(100, 1), LATENT, CPU, folder=tmp_path, say=seen.append)
    Autoregressive(steps=13, **SMALL).fit(others)
    assert seen[0] == "step 0 of 13"
    assert len(list(tmp_path.iterdir())) == 1
