"""Denoising of tokens: only what was masked is put back, without a look at what it was."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from in_memory_music import songs
from vaelab.backbones.gru import GRUDecoder, GRUEncoder
from vaelab.backbones.transformer import TransformerDecoder, TransformerEncoder
from vaelab.core.noise import ExampleNoise
from vaelab.core.spec import MASKED, PADDING, DataSpec
from vaelab.corruptions import Mask
from vaelab.evaluation.baselines.commonest_token import CommonestToken
from vaelab.likelihoods import Categorical
from vaelab.models import AE, Model
from vaelab.tasks.denoising.quality import quality_of_each, summary

LINE = DataSpec("line", "tokens", (9,), "categories", levels=5, has_missing=True, end=4, characters=(1, 1, 1, 1, 0))
VOICES = DataSpec("voices", "tokens", (3, 6), "categories", levels=7)
SMALL = ("trainer.max_epochs=2", "encoder.width=16", "decoder.width=16", "latent_dim=4", "data.limit=300")


def sequences(spec: DataSpec, count: int = 12) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 4, (count, *spec.shape), generator=generator)
    if spec.end is not None:
        for row, length in enumerate(torch.randint(2, 9, (count,), generator=generator).tolist()):
            tokens[row, length] = spec.end
            tokens[row, length + 1 :] = PADDING
    return tokens


def model(spec: DataSpec, kind: str) -> Model:
    torch.manual_seed(0)
    likelihood = Categorical(spec)
    encoder, decoder = {"gru": (GRUEncoder, GRUDecoder), "transformer": (TransformerEncoder, TransformerDecoder)}[kind]
    settings = {"width": 16, "layers": 1} | ({"heads": 2} if kind == "transformer" else {})
    encodes = encoder(spec.shape, 4, spec, **settings)
    return AE(encodes, decoder(4, likelihood.raw_shape, spec, **settings, word_dropout=0.0), likelihood, 4).eval()


@pytest.mark.parametrize("spec", [LINE, VOICES], ids=["line", "voices"])
@pytest.mark.parametrize("positions", ["random", "block"])
def test_a_mask_withholds_its_share_of_what_is_there_and_no_padding(spec: DataSpec, positions: str) -> None:
    clean = sequences(spec, 400)
    noisy = Mask(0.4, positions)(clean, ExampleNoise(0, range(400)), spec)
    hidden = noisy == MASKED
    assert torch.equal(noisy[~hidden], clean[~hidden])
    assert not (hidden & (clean == PADDING)).any()
    share = hidden.float().mean() / (clean != PADDING).float().mean()
    assert share == pytest.approx(0.4, abs=0.1 if positions == "block" else 0.04)  # runs are of whole steps


@pytest.mark.parametrize("kind", ["gru", "transformer"])
@pytest.mark.parametrize("spec", [LINE, VOICES], ids=["line", "voices"])
def test_what_is_known_stays_and_what_is_masked_becomes_a_token(spec: DataSpec, kind: str) -> None:
    clean = sequences(spec)
    noisy = Mask(0.5, positions="random")(clean, ExampleNoise(0, range(len(clean))), spec)
    with torch.no_grad():
        restored = model(spec, kind).restore(noisy)
    hidden = noisy == MASKED
    assert torch.equal(restored[~hidden], clean[~hidden])
    assert ((restored[hidden] >= 0) & (restored[hidden] < (spec.levels or 0))).all()


@pytest.mark.parametrize("kind", ["gru", "transformer"])
@pytest.mark.parametrize("spec", [LINE, VOICES], ids=["line", "voices"])
def test_each_choice_is_the_likeliest_given_the_code_and_all_before(spec: DataSpec, kind: str) -> None:
    clean = sequences(spec)
    noisy = Mask(0.5, positions="random")(clean, ExampleNoise(0, range(len(clean))), spec)
    with torch.no_grad():
        one = model(spec, kind)
        restored = one.restore(noisy)
        likeliest = one.reconstruct(one.encode(noisy), restored)
    hidden = noisy == MASKED
    assert hidden.any()
    assert torch.equal(restored[hidden], likeliest[hidden])


def test_an_encoder_reads_masked_tokens_at_the_end() -> None:
    one = model(LINE, "gru")
    short, hidden = torch.tensor([[0, 1, 2, PADDING, PADDING]]), torch.tensor([[0, 1, 2, MASKED, MASKED]])
    with torch.no_grad():
        assert not torch.allclose(one.encode(short), one.encode(hidden))


def test_numbers_count_masked_tokens_alone() -> None:
    clean = torch.tensor([[0, 1, 2, 3], [1, 1, 4, PADDING]])
    noisy = torch.tensor([[MASKED, 1, MASKED, 3], [MASKED, 1, 4, PADDING]])
    denoised = torch.tensor([[0, 1, 1, 3], [1, 1, 4, PADDING]])
    each = quality_of_each(noisy, denoised, clean, LINE)
    assert summary(each) == {"masked_accuracy": pytest.approx(2 / 3)}
    assert summary(each, 1) == {"masked_accuracy": pytest.approx(1 / 2)}
    assert summary(quality_of_each(clean, clean, clean, LINE)) == {}


def test_the_commonest_token_between_neighbours() -> None:
    train = torch.tensor([[0, 1, 2, 0], [0, 1, 2, 0], [0, 3, 2, 0], [0, 2, 1, 1]])
    noisy = torch.tensor([[0, MASKED, 2, 0], [0, MASKED, MASKED, 0], [MASKED, MASKED, MASKED, MASKED]])
    filled = CommonestToken(train, between=True)(noisy)
    assert filled[0].tolist() == [0, 1, 2, 0]
    assert filled[1].tolist() == [0, 1, 2, 0]  # 1 is the commonest after 0, 2 the commonest before 0
    assert filled[2, 0] == 0  # begins every line
    assert filled[2, 1] == 0  # nothing is known: 0 is the commonest of all
    assert CommonestToken(train, between=False)(noisy)[0].tolist() == [0, 0, 2, 0]


def test_voices_are_counted_apart() -> None:
    train = torch.tensor([[[0, 0, 0], [5, 5, 5]]])
    noisy = torch.full_like(train, MASKED)
    assert torch.equal(CommonestToken(train, between=False)(noisy), train)


def test_neighbours_never_seen_together_fall_back() -> None:
    train = torch.tensor([[0, 1, 2], [3, 4, 0]])
    filled = CommonestToken(train, between=True)(torch.tensor([[0, MASKED, 0]]))
    assert filled.tolist() == [[0, 1, 0]]


def test_a_run_on_text_measures_restores_and_shows(train: Callable[..., Path], tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("".join(f"the {animal} sat on the {place}\n" * 12 for animal in ("cat", "dog", "hen")
                             for place in ("mat", "wall", "roof")))  # fmt: skip
    folder = train(
        "data=text", f"data.path={lines}", "task=denoising", "corruption=mask", "corruption.fraction=0.3",
        "model=ae", "likelihood=categorical", *SMALL,
    )  # fmt: skip
    metrics = json.loads((folder / "metrics.json").read_text())
    for name in ("test", "baseline/commonest", "baseline/neighbours"):
        assert 0 <= metrics[f"{name}/masked_accuracy"] <= 1
        assert f"{name}/masked_accuracy_at_0.6" in metrics
    assert metrics["baseline/neighbours/masked_accuracy"] > metrics["baseline/commonest/masked_accuracy"]
    text = (folder / "texts" / "denoised.txt").read_text()
    assert "\u25a1" in text.splitlines()[0]
    assert (folder / "figures" / "by_strength.png").is_file()


def test_nobody_in_the_batch_is_felt() -> None:
    data = songs(8)
    composer = model(data.spec, "gru")
    clean = data.clean("test")
    noisy = Mask(0.3, positions="random")(clean, ExampleNoise(0, range(len(clean))), data.spec)
    with torch.no_grad():
        parts = torch.cat([composer.restore(part) for part in noisy.split(1)])
        assert torch.equal(composer.restore(noisy), parts)
