"""What a decoder of sequences may see: earlier frames, and earlier voices of the same frame."""

import itertools
from math import log
from typing import Any

import pytest
import torch

from vaelab.backbones.gru import GRUDecoder, GRUEncoder
from vaelab.backbones.music import REACH, MusicDecoder
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
    (MusicDecoder, {"width": 16, "layers": 1, "word_dropout": 0.0}),
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
    made = cls(3, likelihood(spec).raw_shape, spec, **settings).eval()
    if isinstance(made, MusicDecoder):  # its own parts begin at 0
        torch.nn.init.normal_(made.places)
        if made.weigh is not None:
            torch.nn.init.normal_(made.weigh.weight)
    return made


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


def test_a_decoder_of_music_begins_as_a_gru() -> None:
    spec, x, z = ROLL, values(ROLL), torch.randn(2, 3)
    settings: Any = {"width": 16, "layers": 1, "word_dropout": 0.0}
    music = MusicDecoder(3, likelihood(spec).raw_shape, spec, **settings)
    gru = GRUDecoder(3, likelihood(spec).raw_shape, spec, **settings)
    gru.load_state_dict({name: weight for name, weight in music.state_dict().items() if name in gru.state_dict()})
    torch.testing.assert_close(music(z, x), gru(z, x))


def test_a_note_of_the_frame_before_counts_by_its_distance_in_semitones() -> None:
    """With one weight for a distance of two semitones, every logit moves by the note two semitones below or above."""
    music = MusicDecoder(3, likelihood(ROLL).raw_shape, ROLL, 16, 1, 0.0)
    assert music.weigh is not None
    with torch.no_grad():
        music.weigh.bias[REACH + 2] = 5.0
    x = values(ROLL)
    added = music.beside(torch.randn(2, 6, 16), x.roll(1, -1), 0)
    assert added is not None
    expected = torch.zeros(2, 1, *ROLL.shape)
    expected[:, 0, :-2, 1:] = 5 * x[:, 2:, :-1]
    torch.testing.assert_close(added, expected)


def test_a_decoder_of_music_learns_a_chain_whose_changes_have_a_place() -> None:
    """Notes that go on, but for steps 0 and 3, where all are new: the least that any model can reach is log 2 each."""
    spec = DataSpec("roll", "roll", (7, 6), "binary", 2)
    music, p = MusicDecoder(3, (1, 7, 6), spec, 16, 1, 0.0), likelihood(spec)
    optimizer = torch.optim.Adam(music.parameters(), lr=0.03)
    drawn = torch.rand(201, 64, 7, 2).round().repeat_interleave(3, dim=3)
    for x in drawn[:200]:
        loss = -p.log_prob(music(torch.zeros(64, 3), x), x).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        nats = -p.log_prob(music(torch.zeros(64, 3), drawn[-1]), drawn[-1]).mean()
    assert nats.item() == pytest.approx(14 * log(2), rel=0.05)
