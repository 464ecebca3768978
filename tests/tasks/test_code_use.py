"""A code that is not used is said in one line, whatever the data and the model."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from in_memory import InMemory
from vaelab.core import DataSpec
from vaelab.core.spec import Column
from vaelab.data.module import DataModule
from vaelab.evaluation.code_use import code_notes, code_use
from vaelab.likelihoods import Bernoulli, Categorical, Gaussian, Likelihood, Mixed
from vaelab.models import AE, VAE, Model
from vaelab.models.schedules import Constant, FreeBits

SCALE = 0.01  # of the data: what counts must not depend on its units
TABLE = DataSpec("sensors", "table", (3,), "real")
MIXED = DataSpec(
    "people", "table", (3,), "mixed", columns=(Column("a"), Column("b"), Column("c", ("x", "y"))), has_missing=True
)
TOKENS = DataSpec("words", "tokens", (3,), "categories", 4, has_missing=True)
DOTS = DataSpec("dots", "image", (1, 1, 3), "binary", 2)


class Known(nn.Module):
    """An encoder or a decoder that was told the answer: the first value of an example is a function of the others."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, values: Tensor) -> Tensor:
        return self.function(values) + self.weight


def first(x: Tensor) -> Tensor:
    """The code: the first value, missing ones and tokens as numbers."""
    return x.flatten(1)[:, :1].float().nan_to_num()


def examples(spec: DataSpec, count: int = 300) -> DataModule:
    """Each example is one number, three times."""
    generator = torch.Generator().manual_seed(0)
    if spec.support == "categories":
        values = torch.randint(0, 4, (count, 1), generator=generator).expand(-1, 3).clone()
        values[::7, 2] = -1
        return InMemory(values, spec)
    if spec.support == "mixed":
        number = torch.randn(count, 1, generator=generator)
        values = torch.cat([number, number, (number > 0).float()], 1)
        values[::7, 1] = torch.nan
        return InMemory(values, spec)
    if spec.support == "binary":
        values = (torch.rand(count, 1, generator=generator) > 0.5).to(torch.uint8)
        return InMemory(values.expand(-1, 3).reshape(count, 1, 1, 3).clone(), spec)
    return InMemory(SCALE * torch.randn(count, 1, generator=generator).expand(-1, 3).clone(), spec)


def decoder(spec: DataSpec, used: bool) -> Callable[[Tensor], Tensor]:
    """Raw parameters of the answer; of the answer for an average example where the code is not used."""

    def decode(z: Tensor) -> Tensor:
        z = z if used else 0 * z
        if spec.support == "categories":
            return -4 * (z.view(-1, 1, 1) - torch.arange(4.0).view(1, 4, 1)).square().expand(-1, 4, 3)
        if spec.support == "mixed":
            return torch.cat([z, z, -3 * z, 3 * z], 1)
        if spec.support == "binary":
            return (8 * z - 4 if used else z).view(-1, 1, 1, 1, 1).expand(-1, 1, 1, 1, 3)
        return z.view(-1, 1, 1).expand(-1, 1, 3)

    return decode


def posterior(used: bool) -> Callable[[Tensor], Tensor]:
    """Mean and log-variance: about the example, or the prior's."""
    return lambda x: torch.cat([first(x), torch.full_like(first(x), -4.0)] if used else 2 * [0 * first(x)], 1)


def likelihood(spec: DataSpec, vae: bool) -> Likelihood:
    kinds: dict[str, Callable[[], Likelihood]] = {
        "categories": lambda: Categorical(spec),
        "mixed": lambda: Mixed(spec, sigma=0.5, numbers="gaussian", degrees=4),
        "binary": lambda: Bernoulli(spec, binarize=None),
        "real": lambda: Gaussian(spec, SCALE if vae else 0.5**0.5),
    }
    return kinds[spec.support]()


def model(spec: DataSpec, vae: bool, used: bool) -> Model:
    if vae:
        return VAE(Known(posterior(used)), Known(decoder(spec, used)), likelihood(spec, vae), 1, Constant()).eval()
    return AE(Known(first), Known(decoder(spec, used)), likelihood(spec, vae), 1).eval()


@pytest.mark.parametrize("spec", [TABLE, MIXED, TOKENS, DOTS], ids=lambda spec: spec.kind + " " + spec.support)
@pytest.mark.parametrize("vae", [True, False], ids=["vae", "ae"])
@torch.no_grad()
def test_only_a_code_that_is_not_used_is_said(spec: DataSpec, vae: bool) -> None:
    data = examples(spec)
    assert code_notes(model(spec, vae, used=True), data, "test") == []
    (note,) = code_notes(model(spec, vae, used=False), data, "test")
    assert note.startswith("the latent code is hardly used: ")
    assert ("KL 0.000" in note and "model/schedule=free_bits" in note) == vae
    assert "\n" not in note


@torch.no_grad()
def test_the_gain_of_a_code_that_is_not_used_is_0_and_the_rate_is_the_kl() -> None:
    data = examples(TABLE, 3_000)
    unused, used = (code_use(model(TABLE, True, used), data, "test") for used in (False, True))
    assert unused is not None
    assert used is not None
    assert (unused.gain, unused.rate) == (pytest.approx(0, abs=1e-9), pytest.approx(0, abs=1e-3))
    # -log p falls by half of E (x - x')^2 / sigma^2 = 1, for each of three values
    assert used.gain == pytest.approx(3, rel=0.3)
    assert used.rate == pytest.approx(0.5 * (torch.tensor(-4.0).exp().item() - 1 + 4), rel=0.1)


@torch.no_grad()
def test_a_rate_that_is_spent_on_nothing_is_no_use() -> None:
    """The decoder of a model may not look at what its encoder says."""
    data = examples(TABLE)
    spends = VAE(Known(posterior(True)), Known(decoder(TABLE, False)), Gaussian(TABLE, SCALE), 1, Constant()).eval()
    (note,) = code_notes(spends, data, "test")
    assert "KL 1.5 nats" in note


@torch.no_grad()
def test_a_code_that_is_the_same_for_all_examples_is_no_use() -> None:
    dead = AE(Known(lambda x: torch.ones(len(x), 1)), Known(decoder(TABLE, True)), likelihood(TABLE, False), 1).eval()
    (note,) = code_notes(dead, examples(TABLE), "test")
    assert "no lower than that from another's" in note


@torch.no_grad()
def test_what_to_try_fits_the_model() -> None:
    data = examples(TABLE)
    parts = (Known(posterior(False)), Known(decoder(TABLE, False)), Gaussian(TABLE, SCALE), 1)
    (bits,) = code_notes(VAE(*parts, FreeBits(0.1), beta=4.0).eval(), data, "test")
    assert "try model.schedule.nats=0.2, model.beta=0.4, likelihood=gaussian_learned" in bits
    (iwae,) = code_notes(VAE(*parts, Constant(), bound="iwae").eval(), data, "test")
    assert "schedule" not in iwae
    sparse = AE(Known(first), Known(decoder(TABLE, False)), likelihood(TABLE, False), 1, sparsity=3.0).eval()
    (note,) = code_notes(sparse, data, "test")
    assert "model.sparsity=0.3" in note


@torch.no_grad()
def test_one_example_has_no_other_to_compare_with() -> None:
    data = examples(TABLE)
    data.split["test"] = data.split["test"][:1]
    assert code_use(model(TABLE, True, False), data, "test") is None
    assert code_notes(model(TABLE, True, False), data, "test") == []


@pytest.mark.parametrize("test", [pytest.param("true", marks=pytest.mark.long), "false"])
def test_a_run_says_it_once_on_the_terminal_and_in_the_report(
    test: str, train: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    small = (
        "encoder.hidden=[8]",
        "decoder.hidden=[8]",
        "trainer.max_epochs=1",
        "task=compression",
        "model=vae",
        f"test={test}",
    )
    run = train(*small, "model.beta=1e4", "optimizer.lr=0.02")
    said = "the latent code is hardly used: KL "
    assert capsys.readouterr().out.count(f"note: {said}") == 1
    assert (run / "report.html").read_text().count(said) == 1
