"""bfloat16 is for training steps alone, and only where it is known to be faster."""

import json
from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from vaelab.backbones.conv import ConvDecoder, ConvEncoder
from vaelab.backbones.gru import GRUDecoder, GRUEncoder
from vaelab.backbones.mlp import MLPDecoder, MLPEncoder
from vaelab.backbones.transformer import TransformerDecoder, TransformerEncoder
from vaelab.core.spec import DataSpec
from vaelab.likelihoods import Bernoulli, Categorical
from vaelab.models import VAE
from vaelab.models.schedules import Constant
from vaelab.training.precision import (
    WORTH,
    BFloat16Training,
    choose_precision,
    gains_by_bfloat16,
    lay_channels_last,
    multiplications,
)

CPU = torch.device("cpu")
CONV = ("trainer.max_epochs=3", "encoder=conv", "encoder.widths=[8,16]", "decoder.widths=[8,16]", "trainer=cpu")
PLUGINS = ([], [BFloat16Training("cpu")])
MLP = ("trainer.max_epochs=4", "encoder.hidden=[32]", "decoder.hidden=[32]")
SEES = ("trusted=[vaelab,test_precision]", "+callbacks.seen._target_=test_precision.Seen")


class Seen(Callback):
    """Notes in which precision the decoder's last layer answers."""

    train: torch.dtype
    validation: torch.dtype

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        def note(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            setattr(Seen, "train" if module.training else "validation", output.dtype)

        pl_module.model.decoder.register_forward_hook(note)


@pytest.fixture
def bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor that computes in it; others do so more slowly."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})


SHAPE = (1, 8, 8)


def vae(encoder: nn.Module, decoder: nn.Module, spec: DataSpec) -> VAE:
    likelihood = Categorical(spec) if spec.kind == "tokens" else Bernoulli(spec, binarize=None)
    return VAE(encoder, decoder, likelihood, 4, Constant())


@pytest.fixture
def mlp() -> VAE:
    spec = DataSpec("dots", "image", SHAPE, "binary", 2)
    return vae(
        MLPEncoder(SHAPE, 8, [100], activation="relu"), MLPDecoder(4, (1, *SHAPE), [100], activation="relu"), spec
    )


def test_multiplications_are_those_of_linear_layers(mlp: VAE) -> None:
    assert multiplications(mlp) == 64 * 100 + 100 * 8 + 4 * 100 + 100 * 64


def test_multiplications_of_a_sequence_are_those_of_all_steps_unless_they_wait_for_each_other() -> None:
    spec = DataSpec("words", "tokens", (12,), "categories", 5)
    gru = vae(
        GRUEncoder((12,), 8, spec, 16, layers=1), GRUDecoder(4, (5, 12), spec, 16, layers=1, word_dropout=0.0), spec
    )
    transformer = vae(
        TransformerEncoder((12,), 8, spec, 16, 1, 2),
        TransformerDecoder(4, (5, 12), spec, 16, 1, 2, word_dropout=0.0),
        spec,
    )
    for model, at_once in ((gru, 1), (transformer, 12)):
        matrices = [w for layer in model.modules() if isinstance(layer, nn.Linear | nn.GRU) for w in layer.parameters()]
        assert multiplications(model) == at_once * sum(w.numel() for w in matrices if w.dim() == 2)


def test_a_processor_gains_where_it_computes_in_it_and_for_convolutions_and_large_products(
    mlp: VAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    conv = vae(
        ConvEncoder(SHAPE, 8, [8], activation="silu"),
        ConvDecoder(4, (1, *SHAPE), [8], activation="silu"),
        mlp.likelihood.spec,
    )
    enough = WORTH // multiplications(mlp) + 1
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert gains_by_bfloat16(CPU, conv, batch_size=1)
    assert gains_by_bfloat16(CPU, mlp, enough)
    assert not gains_by_bfloat16(CPU, mlp, enough - 1)
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert not gains_by_bfloat16(CPU, conv, batch_size=1)
    assert not gains_by_bfloat16(CPU, mlp, enough)


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize("batch_size", [1, 63, 64, 127, 128, 1_000])
def test_the_batch_over_all_devices_decides_whatever_their_number(
    batch_size: int, mlp: VAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaelab.training.precision.WORTH", 64 * multiplications(mlp))
    chosen = []
    for world_size in (1, 2, 4):
        trainer = L.Trainer(accelerator="cpu", devices=world_size, strategy="auto" if world_size == 1 else "ddp")
        assert trainer.world_size == world_size
        choose_precision(trainer, mlp, batch_size)
        chosen.append(isinstance(trainer.precision_plugin, BFloat16Training))
    assert chosen == 3 * [batch_size >= 64]


@pytest.mark.parametrize(("capability", "gains"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_a_gpu_gains_from_ampere_on(
    capability: tuple[int, int], gains: bool, mlp: VAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert gains_by_bfloat16(torch.device("cuda"), mlp, batch_size=1) == gains


@pytest.mark.long
@pytest.mark.usefixtures("bfloat16")
def test_trains_in_bfloat16_and_evaluates_in_float32(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    import test_precision

    folder = train(*CONV, *SEES)
    assert test_precision.Seen.train == torch.bfloat16
    assert test_precision.Seen.validation == torch.float32
    assert "training in bfloat16" in capsys.readouterr().out
    assert json.loads((folder / "environment.json").read_text())["precision"] == "bf16-mixed"
    weights = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert {w.dtype for w in weights.values() if w.is_floating_point()} == {torch.float32}


@pytest.mark.long
@pytest.mark.usefixtures("bfloat16")
def test_numbers_are_those_of_the_weights_in_float32(train: Callable[..., Path]) -> None:
    folder = train(*CONV)
    again = train(*CONV, "train=false", f"ckpt_path={folder}")
    assert json.loads((again / "environment.json").read_text())["precision"] == "32-true"
    trained, evaluated = (json.loads((run / "metrics.json").read_text()) for run in (folder, again))
    tested = [name for name in evaluated if name.startswith("test/")]
    assert tested
    # Up to rounding: the second run lays its convolutions out otherwise.
    for name in tested:
        assert evaluated[name] == pytest.approx(trained[name], rel=1e-4), name


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize("model", ["ae", "vae", "contractive_ae", "iwae"])
@pytest.mark.long
def test_ends_near_single_precision(model: str, train: Callable[..., Path]) -> None:
    half, single = (
        json.loads((train(*CONV, f"model={model}", f"trainer.precision={p}") / "metrics.json").read_text())
        for p in ("auto", "32-true")
    )
    assert half["test/loss"] == pytest.approx(single["test/loss"], rel=0.02)


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.long
@pytest.mark.parametrize("asked", ["auto", "bf16-mixed"])
def test_clips_gradients_of_fused_optimizers(asked: str, train: Callable[..., Path]) -> None:
    folder = train(*CONV, "trainer.gradient_clip_val=0.5", f"trainer.precision={asked}")
    assert json.loads((folder / "environment.json").read_text())["precision"] == "bf16-mixed"


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "bf16-mixed"])
@pytest.mark.long
def test_any_precision_ends_near_single_precision(precision: str, train: Callable[..., Path]) -> None:
    single, other = (
        json.loads((train(*MLP, f"trainer.precision={p}") / "metrics.json").read_text()) for p in ("32-true", precision)
    )
    assert other["test/loss"] == pytest.approx(single["test/loss"], rel=0.02)


def test_channels_last_goes_with_bfloat16_and_changes_no_value() -> None:
    torch.manual_seed(0)
    encoder, decoder = (
        ConvEncoder((2, 27, 31), 4, [8, 16], activation="silu"),
        ConvDecoder(4, (2, 3, 27, 31), [8, 16], activation="silu"),
    )
    x, z = torch.rand(3, 2, 27, 31), torch.randn(3, 4)
    before = [encoder(x), decoder(z)]
    single, half = (L.Trainer(accelerator="cpu", logger=False, plugins=plugins) for plugins in PLUGINS)
    lay_channels_last(single, encoder)
    assert encoder.net[3].weight.is_contiguous()
    for backbone in (encoder, decoder):
        lay_channels_last(half, backbone)
    assert encoder.net[3].weight.is_contiguous(memory_format=torch.channels_last)
    for ours, theirs in zip([encoder(x), decoder(z)], before, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_what_is_no_precision_is_named_with_what_would_be(
    train: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train("trainer.precision=automatic")
    message = capsys.readouterr().err
    assert "trainer.precision=automatic" in message
    assert "'auto'" in message
    assert "'bf16-mixed'" in message


def test_a_device_that_is_not_there_is_one_message(
    train: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train("trainer.accelerator=tpu")
    message = capsys.readouterr().err
    assert message.startswith("error: trainer")
    assert "Traceback" not in message
