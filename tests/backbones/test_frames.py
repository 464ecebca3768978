"""What a decoder of sequences may see: earlier frames, and earlier voices of the same frame."""

import itertools
from typing import Any

import pytest
import torch

from vaelab.backbones.gru import GRUDecoder, GRUEncoder
from vaelab.backbones.transformer import TransformerDecoder, TransformerEncoder
from vaelab.core.spec import DataSpec
from vaelab.likelihoods.bernoulli import Bernoulli
from vaelab.likelihoods.categorical import Categorical
from vaelab.likelihoods.likelihood import Likelihood

TOKENS = DataSpec("voices", "tokens", (4, 6), "categories", 9, has_missing=True)
ROLL = DataSpec("roll", "roll", (7, 6), "binary", 2, has_missing=True)
DECODERS: list[Any] = [
    (GRUDecoder, {"width": 16, "layers": 2, "word_dropout": 0.0}),
    (TransformerDecoder, {"width": 16, "layers": 2, "heads": 4, "word_dropout": 0.0}),
]
ENCODERS: list[Any] = [
    (GRUEncoder, {"width": 16, "layers": 1}),
    (TransformerEncoder, {"width": 16, "layers": 2, "heads": 4}),
]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def likelihood(spec: DataSpec) -> Likelihood:
    return Categorical(spec) if spec.kind == "tokens" else Bernoulli(spec, binarize=None)


def values(spec: DataSpec, count: int = 2) -> torch.Tensor:
    drawn = torch.randint(spec.levels or 2, (count, *spec.shape))
    return drawn if spec.kind == "tokens" else drawn.float()


def decoder(which: Any, spec: DataSpec) -> Any:
    cls, settings = which
    return cls(3, likelihood(spec).raw_shape, spec, **settings).eval()


@pytest.mark.parametrize("which", DECODERS)
def test_a_voice_sees_earlier_frames_and_earlier_voices_of_its_own_frame_and_no_more(which: Any) -> None:
    decode, x, z = decoder(which, TOKENS), values(TOKENS), torch.randn(2, 3)
    before = decode(z, x)
    voices, steps = TOKENS.shape
    for voice, step in itertools.product(range(voices), range(steps)):
        changed = x.clone()
        changed[:, voice, step] = (changed[:, voice, step] + 1) % 9
        differs = (decode(z, changed) - before).abs().amax((0, 1)) > 1e-6  # (V, T)
        seen = torch.zeros(voices, steps, dtype=torch.bool)
        seen[voice + 1 :, step] = True
        seen[:, step + 1 :] = True
        assert torch.equal(differs, seen), (voice, step)


@pytest.mark.parametrize("which", DECODERS)
def test_a_pitch_of_a_roll_sees_earlier_frames_alone(which: Any) -> None:
    decode, x, z = decoder(which, ROLL), values(ROLL), torch.randn(2, 3)
    before = decode(z, x)
    for step in range(ROLL.shape[1]):
        changed = x.clone()
        changed[:, 3, step] = 1 - changed[:, 3, step]
        differs = (decode(z, changed) - before).abs().amax((0, 1, 2)) > 1e-6
        assert differs.tolist() == [other > step for other in range(ROLL.shape[1])]


@pytest.mark.parametrize("spec", [TOKENS, ROLL])
@pytest.mark.parametrize("which", DECODERS)
def test_generating_chooses_from_what_training_would_predict(which: Any, spec: DataSpec) -> None:
    """The most likely sequence, told as given, is the most likely at each of its steps."""
    decode, p, z = decoder(which, spec), likelihood(spec), torch.randn(3, 3)
    generated = decode.generate(z, p.mode)
    assert generated.shape == (3, *spec.shape)
    assert torch.equal(p.mode(decode(z, generated)), generated)


@pytest.mark.parametrize("spec", [TOKENS, ROLL])
@pytest.mark.parametrize("which", DECODERS)
def test_frames_after_the_end_cost_nothing(which: Any, spec: DataSpec) -> None:
    decode, p, x, z = decoder(which, spec), likelihood(spec), values(spec), torch.randn(2, 3)
    padded = x.clone()
    padded[..., 4:] = -1 if spec.kind == "tokens" else torch.nan
    short = p.log_prob(decode(z, x[..., :4]), x[..., :4])
    torch.testing.assert_close(p.log_prob(decode(z, padded), padded), short)


@pytest.mark.parametrize("spec", [TOKENS, ROLL])
@pytest.mark.parametrize("which", ENCODERS)
def test_frames_after_the_end_do_not_change_a_code(which: Any, spec: DataSpec) -> None:
    cls, settings = which
    encode, x = cls(spec.shape, 5, spec, **settings).eval(), values(spec)
    padded = x.clone()
    padded[..., 4:] = -1 if spec.kind == "tokens" else torch.nan
    torch.testing.assert_close(encode(padded), encode(x[..., :4]))
