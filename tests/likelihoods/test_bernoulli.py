"""Bernoulli: binary data only."""

import pytest
import torch

from vaelab.core import DataSpec
from vaelab.errors import ConfigError
from vaelab.likelihoods import Bernoulli

BINARY = DataSpec("ink", "image", (1, 4, 5), "binary", 2)


def test_equals_torch_distributions() -> None:
    generator = torch.Generator().manual_seed(0)
    raw = 8 * torch.randn(6, 1, 1, 4, 5, generator=generator, dtype=torch.float64)
    target = torch.bernoulli(torch.full((6, 1, 4, 5), 0.5, dtype=torch.float64), generator=generator)
    reference = torch.distributions.Bernoulli(logits=raw.squeeze(1))
    likelihood = Bernoulli(BINARY, binarize=None)
    expected = reference.log_prob(target).sum((1, 2, 3))
    torch.testing.assert_close(likelihood.log_prob(raw, target), expected, rtol=0, atol=1e-7)
    torch.testing.assert_close(likelihood.mean(raw), reference.mean)


def test_samples_have_the_mean_and_are_binary() -> None:
    likelihood = Bernoulli(BINARY, binarize=None)
    raw = torch.linspace(-3, 3, 20).view(1, 1, 1, 4, 5).expand(20_000, -1, -1, -1, -1)
    drawn = likelihood.sample(raw, torch.Generator().manual_seed(0))
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(drawn.mean(0), likelihood.mean(raw)[0], rtol=0, atol=0.02)


def test_grey_data_is_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigError, match=r"digits has grey values.*likelihood\.binarize=dynamic"):
        Bernoulli(DataSpec("digits", "image", (1, 8, 8), "unit", 17), binarize=None)


def test_real_data_is_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigError, match=r"real values.*gaussian"):
        Bernoulli(DataSpec("sensors", "table", (8,), "real"), binarize=None)


def test_a_frame_of_a_roll_has_its_likeliest_notes_as_many_as_are_expected() -> None:
    """Each of ten pitches sounds by chance of .2: silence is the likeliest, and two notes are expected."""
    roll = Bernoulli(DataSpec("roll", "roll", (10, 3), "binary", 2), binarize=None)
    probability = torch.full((1, 10, 3), 0.2)
    probability[0, 4] = probability[0, 7] = 0.3  # 2.2 notes
    probability[0, :, 1] = 0.04  # 0.4 notes
    probability[0, :, 2] = 0.01
    probability[0, 5, 2] = 0.99  # as the likelier of 0 and 1
    mode = roll.mode(probability.logit().unsqueeze(1))
    assert mode[0, :, 0].nonzero().flatten().tolist() == [4, 7]
    assert mode[0, :, 1].sum() == 0
    assert mode[0, :, 2].nonzero().flatten().tolist() == [5]
    image = Bernoulli(BINARY, binarize=None)
    assert image.mode(torch.full((1, 1, 1, 4, 5), -1.0)).sum() == 0
