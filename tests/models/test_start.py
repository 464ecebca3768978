"""Where training starts: an untrained decoder explains each value of an example by its mean."""

import torch

from in_memory import digits
from vaelab.backbones import ConvDecoder, MLPEncoder
from vaelab.likelihoods import Bernoulli, Gaussian
from vaelab.models import VAE, Start


def test_a_decoder_that_gives_nothing_reconstructs_the_mean(make_ae, rows) -> None:
    model = make_ae()
    for weights in model.decoder.parameters():
        torch.nn.init.zeros_(weights)
    model.start(Start(len(rows), rows.mean(0), rows[:0]))
    torch.testing.assert_close(model.decode(torch.randn(4, 3)), rows.mean(0).expand(4, 6))


def test_pixels_without_a_place_of_their_own_in_the_weights_have_their_own_mean() -> None:
    """A convolution has one bias for a channel; the mean is of each pixel."""
    data = digits(binarize="dynamic")
    decoder = ConvDecoder(2, (1, 1, 8, 8), [4], activation="silu")
    model = VAE(MLPEncoder((1, 8, 8), 4, [4], activation="relu"), decoder, Bernoulli(data.spec, binarize=None), 2, None)
    for weights in decoder.parameters():
        torch.nn.init.zeros_(weights)
    model.start(Start(len(data.split["train"]), data.mean(), data.mean().new_empty(0)))
    expected = data.clean("train").mean(0).clamp(1e-3, 1 - 1e-3)
    torch.testing.assert_close(model.decode(torch.zeros(1, 2))[0], expected)


def test_the_start_is_kept_with_the_weights(make_vae, rows) -> None:
    model, other = make_vae(), make_vae()
    model.start(Start(len(rows), rows.mean(0), rows[:0]))
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other.decode(torch.zeros(1, 3)), model.decode(torch.zeros(1, 3)), rtol=0, atol=0)
    assert "offset" not in dict(model.named_parameters())  # a start, which the weights need not learn


def test_a_run_starts_at_the_mean_of_train(train) -> None:
    import vaelab

    folder = train("trainer.max_epochs=1", "trainer=cpu", "test=false", "task=compression", "model=ae")
    model = vaelab.load(folder).model
    assert isinstance(model.likelihood, Gaussian)
    torch.testing.assert_close(model.offset, model.likelihood.raw_at(digits(split_seed=0).mean()))
