"""What a package from outside may rely on."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vaelab.config.builder import Builder
from vaelab.config.signature import arguments
from vaelab.core import DataSpec
from vaelab.latents import DiagonalGaussian, StandardNormal, Uniform, gaussian_draw, gaussian_kl, gaussian_product
from vaelab.models import VAE

Run = Callable[..., Path]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_a_draw_depends_on_the_step_in_training_only(packages: Path) -> None:
    q_of = Builder(["relaxed_vae"]).build(
        {"_target_": "relaxed_vae.GumbelSoftmax", "categories": 4}, "posterior", object
    )
    prior = Uniform()
    prior.bind(q_of.group((8,)), DataSpec("digits", "image", (1, 8, 8), "unit", 17), lambda x: None)
    q, noise = q_of(torch.randn(3, 8)), torch.rand(3, 5, 8)
    hard = q_of.draw(q, prior.distribution(), noise, 5, {})
    cold = q_of.draw(q, prior.distribution(), noise, 5, {"temperature": 1e-4})
    warm = q_of.draw(q, prior.distribution(), noise, 5, q_of.scheduled(0))
    assert set(hard.z.flatten().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(cold.z, hard.z)
    assert not torch.allclose(warm.z, hard.z, atol=0.05)
    assert torch.equal(hard.indices, hard.z.unflatten(2, (2, 4)).argmax(-1))


def test_the_mean_of_log_ratios_is_the_kl(packages: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    q = DiagonalGaussian(*torch.randn(2, 2, 1, 3, generator=generator))
    p = DiagonalGaussian(*torch.randn(2, 2, 1, 3, generator=generator))
    drawn = gaussian_draw(q, p, torch.randn(2, 200_000, 3, generator=generator))
    assert drawn.rate is not None
    assert drawn.log_ratio is not None
    torch.testing.assert_close(-drawn.log_ratio.mean(1), drawn.rate, rtol=0.01, atol=0.01)


def test_a_normal_prior_of_zeros_is_the_standard_one() -> None:
    q = DiagonalGaussian(*torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(1)))
    zeros, z = DiagonalGaussian(*torch.zeros(2, 4, 3)), torch.randn(4, 7, 3)
    standard = StandardNormal().distribution()
    torch.testing.assert_close(zeros.kl(q), standard.kl(q))
    torch.testing.assert_close(zeros.log_prob(z), standard.log_prob(z))


def test_a_product_with_a_flat_density_changes_nothing() -> None:
    q, flat = DiagonalGaussian(*torch.randn(2, 4, 3)), DiagonalGaussian(torch.zeros(4, 3), torch.full((4, 3), 40.0))
    torch.testing.assert_close(gaussian_product(q, flat), q)
    torch.testing.assert_close(gaussian_kl(q, q), torch.zeros(4, 3))


def test_settings_that_are_handed_on_keep_their_defaults(packages: Path) -> None:
    tc = Builder(["tc_vae"]).resolve({"_target_": "tc_vae.TCVAE"}, "model", VAE)
    known, of_vae = arguments(tc), arguments(VAE)
    assert known["condition_size"].default == of_vae["condition_size"].default == 16
    assert all(known[name].hint == of_vae[name].hint for name in ("beta", "schedule", "condition"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("tc_vae", "trainer.accumulate_grad_batches=2"), "total_correlation of TCVAE is a statistic of the whole"),
        (("class_prior", "model.condition=null"), "add model.condition=label"),
        (("relaxed_vae", "latent_dim=7"), "multiple of 4"),
    ],
)
def test_what_does_not_fit_is_refused(
    train: Run, packages: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, str], message: str
) -> None:
    name, setting = words
    with pytest.raises(SystemExit):
        train(f"--config-dir={packages / name / 'conf'}", f"trusted=[{name}]", f"model={name}", setting)
    assert message in capsys.readouterr().err
