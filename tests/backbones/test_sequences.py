"""Decoders of sequences never see what they predict, and padding changes nothing anywhere."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vaelab.backbones.gru import GRUDecoder, GRUEncoder
from vaelab.backbones.transformer import TransformerDecoder, TransformerEncoder
from vaelab.core import Batch, DataSpec, ExampleNoise
from vaelab.core.noise import StepNoise
from vaelab.core.spec import MASKED, PADDING
from vaelab.likelihoods import Categorical
from vaelab.models import AE, VAE
from vaelab.models.schedules import Constant

LATENT, LEVELS, STEPS = 3, 7, 9
ENCODERS: dict[str, Any] = {
    "gru": (GRUEncoder, {"layers": 1}),
    "transformer": (TransformerEncoder, {"heads": 2, "layers": 2}),
}
DECODERS: dict[str, Any] = {
    "gru": (GRUDecoder, {"layers": 2}),
    "transformer": (TransformerDecoder, {"heads": 2, "layers": 2}),
}
BOTH = pytest.mark.parametrize("name", ["gru", "transformer"])
FRAMES = pytest.mark.parametrize("frame", [(), (3,)], ids=["one voice", "three voices"])


def spec(frame: tuple[int, ...] = (), steps: int = STEPS, end: int | None = None) -> DataSpec:
    return DataSpec("tokens", "tokens", (*frame, steps), "categories", levels=LEVELS, has_missing=True, end=end)


def encoder(name: str, of: DataSpec) -> nn.Module:
    torch.manual_seed(0)
    kind, settings = ENCODERS[name]
    return kind(of.shape, 2 * LATENT, spec=of, width=8, **settings).double().eval()


def decoder(name: str, of: DataSpec, **settings: Any) -> Any:
    torch.manual_seed(0)
    kind, own = DECODERS[name]
    return kind(LATENT, (LEVELS, *of.shape), spec=of, width=8, **{"word_dropout": 0.0} | own | settings).double().eval()


def tokens(of: DataSpec, count: int = 4) -> Tensor:
    return torch.randint(LEVELS, (count, *of.shape), generator=torch.Generator().manual_seed(1))


def code(count: int = 4) -> Tensor:
    return torch.randn(count, LATENT, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def padded(values: Tensor, more: int = 5) -> Tensor:
    return nn.functional.pad(values, (0, more), value=PADDING)


@BOTH
@FRAMES
def test_a_token_changes_no_logit_at_or_before_it(name: str, frame: tuple[int, ...]) -> None:
    """Voices of one step come one after the other: those before the changed one do not see it either."""
    of = spec(frame)
    decode, values, z = decoder(name, of), tokens(of), code()
    before = decode(z, values)
    for step in range(STEPS):
        for voice in range(of.size // STEPS):
            changed = values.clone()
            changed.view(len(values), -1, STEPS)[:, voice, step] += 1
            changed %= LEVELS
            after = decode(z, changed)
            voices = (len(values), LEVELS, -1, STEPS)
            assert torch.equal(after[..., :step], before[..., :step])
            assert torch.equal(
                after.view(voices)[:, :, : voice + 1, step], before.view(voices)[:, :, : voice + 1, step]
            )
            if step + 1 < STEPS:
                assert not torch.equal(after[..., step + 1], before[..., step + 1])


@BOTH
def test_the_code_reaches_every_step(name: str) -> None:
    decode, values, z = decoder(name, spec()), tokens(spec()), code()
    changed = (decode(z + 1, values) - decode(z, values)).abs().amax((0, 1))
    assert (changed > 0).all()


@BOTH
@FRAMES
def test_padding_changes_no_code(name: str, frame: tuple[int, ...]) -> None:
    encode, values = encoder(name, spec(frame)), tokens(spec(frame))
    torch.testing.assert_close(encode(padded(values)), encode(values), rtol=0, atol=1e-12)


@BOTH
@FRAMES
def test_padding_changes_no_logit_before_it(name: str, frame: tuple[int, ...]) -> None:
    decode, values, z = decoder(name, spec(frame)), tokens(spec(frame)), code()
    torch.testing.assert_close(decode(z, padded(values))[..., :STEPS], decode(z, values), rtol=0, atol=1e-12)


@BOTH
@pytest.mark.parametrize("kind", ["vae", "ae"])
def test_padding_changes_neither_loss_nor_gradient(name: str, kind: str) -> None:
    """A short example among long ones counts as it would alone."""
    of = spec(steps=STEPS + 5)
    likelihood, decode = Categorical(of), decoder(name, of)
    if kind == "vae":
        model: Any = VAE(encoder(name, of), decode, likelihood, LATENT, Constant())
    else:
        torch.manual_seed(0)
        encode = ENCODERS[name][0](of.shape, LATENT, spec=of, width=8, **ENCODERS[name][1])
        model = AE(encode, decode, likelihood, LATENT)
    model = model.double().train()
    values = tokens(spec())
    found = []
    for x in (values, padded(values)):
        batch = Batch(x, x, torch.zeros(4), x, ExampleNoise(0, range(4)), 1.0)
        model.zero_grad()
        loss = model.terms(batch).loss
        loss.sum().backward()
        found.append((loss.detach(), [p.grad.clone() for p in model.parameters() if p.grad is not None]))
    (alone, gradients), (among, others) = found
    torch.testing.assert_close(among, alone, rtol=0, atol=1e-10)
    for one, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=1e-10)


@BOTH
@FRAMES
def test_generation_agrees_with_teacher_forcing(name: str, frame: tuple[int, ...]) -> None:
    """What is chosen greedily step by step is, told back to the decoder, the likeliest at each step."""
    decode, z = decoder(name, spec(frame)), code()
    drawn = decode.generate(z, lambda raw: raw.argmax(1))
    assert drawn.shape == (4, *frame, STEPS)
    assert torch.equal(decode(z, drawn).argmax(1), drawn)


@BOTH
def test_the_logits_of_generation_are_those_of_teacher_forcing(name: str) -> None:
    decode, z, seen = decoder(name, spec()), code(), []

    def choose(raw: Tensor) -> Tensor:
        seen.append(raw)
        return (raw.argmax(1) + len(seen)) % LEVELS

    drawn = decode.generate(z, choose)
    torch.testing.assert_close(torch.cat(seen, dim=-1), decode(z, drawn), rtol=0, atol=1e-10)


@BOTH
def test_nothing_follows_an_end(name: str) -> None:
    decode, z = decoder(name, spec(end=2)), code(64)
    generator = torch.Generator().manual_seed(0)
    drawn = decode.generate(z, lambda raw: torch.randint(LEVELS, (len(raw), 1), generator=generator))
    ended = (drawn == 2).cumsum(1).roll(1, 1)
    ended[:, 0] = 0
    assert ended.bool().any()
    assert torch.equal(drawn == PADDING, ended.bool())


@BOTH
def test_word_dropout_hides_tokens_in_training_only(name: str) -> None:
    of = spec()
    model = VAE(encoder(name, of), decoder(name, of, word_dropout=0.5), Categorical(of), LATENT, Constant())
    x = padded(tokens(of), 2)
    batch = Batch(x, x, torch.zeros(4), x, StepNoise(0, 0, 0, slice(0, 4), 4), 1.0)
    told = model.train().teacher_forcing(batch)
    assert ((told == x) | (told == MASKED)).all()
    assert 0.2 < (told == MASKED)[x >= 0].float().mean() < 0.8
    assert (told[x == PADDING] == PADDING).all()
    assert torch.equal(model.teacher_forcing(batch), told)
    assert torch.equal(model.eval().teacher_forcing(batch), x)
    hidden = torch.full_like(x, MASKED)
    z = code()
    assert not torch.equal(model.decoder(z, hidden), model.decoder(z, x))
