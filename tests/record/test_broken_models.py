"""A model folder that is broken, absurd or of two models takes no memory, and ends in one message that names a file."""

import json
import os
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import vaelab
from vaelab import careful_read, models
from vaelab.backbones import MLPEncoder
from vaelab.config.builder import Builder
from vaelab.config.targets import target
from vaelab.core.spec import Column, DataSpec
from vaelab.errors import CheckpointError, ConfigError
from vaelab.latents import LatentSpec
from vaelab.likelihoods import Likelihood
from vaelab.models.building import architecture, build_model
from vaelab.models.saved_model import save_model
from vaelab.models.schedules import Constant

VAE = {"_target_": "vaelab.models.VAE", "schedule": {"_target_": "vaelab.models.schedules.Constant"}}
IMAGE = {
    "latent_dim": 2,
    "model": VAE,
    "encoder": {"_target_": "vaelab.backbones.MLPEncoder", "hidden": [4], "activation": "relu"},
    "decoder": {"_target_": "vaelab.backbones.ResNetDecoder", "widths": [4], "blocks": 1},
    "likelihood": {"_target_": "vaelab.likelihoods.DiscretizedLogistic", "mixtures": 1},
}
TEXT = IMAGE | {
    "encoder": {"_target_": "vaelab.backbones.gru.GRUEncoder", "width": 4, "layers": 1},
    "decoder": {
        "_target_": "vaelab.backbones.transformer.TransformerDecoder",
        "width": 8,
        "layers": 1,
        "heads": 2,
        "word_dropout": 0.0,
    },
    "likelihood": {"_target_": "vaelab.likelihoods.Categorical"},
}
SPECS = {
    "image": DataSpec("squares", "image", (1, 5, 7), "unit", 17, ("a", "b")),
    "text": DataSpec(
        "words", "tokens", (6,), "categories", 5, has_missing=True, end=4, characters=(1,) * 5, vocabulary="ab"
    ),
}


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    kind = getattr(request, "param", "image")
    config = {"image": IMAGE, "text": TEXT}[kind]
    torch.manual_seed(0)
    save_model(build_model(architecture(config, SPECS[kind]), Builder()), tmp_path / "model")
    return tmp_path


def edit(folder: Path, place: str, value: Any) -> None:
    path = folder / "model/model.json"
    about = part = json.loads(path.read_text())
    *groups, key = place.split(".")
    for group in groups:
        part = part[group]
    part[key] = value
    path.write_text(json.dumps(about))


def refused(folder: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        vaelab.load(folder)
    said = str(error.value)
    assert said.startswith(str(folder))
    assert said.isprintable()
    assert len(said) < 1_000
    return said


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("spec", None, "spec=None: should be an object"),
        ("spec", [], "spec=list: should be an object"),
        ("spec.zzz", 1, "unknown key spec.zzz"),
        ("spec.shapes", 1, "did you mean spec.shape?"),
        ("spec.classes", 5, "spec.classes=5: should be a valid tuple"),
        ("spec.classes", ["a", 5], "spec.classes="),
        ("spec.classes", [str(n) for n in range(100_001)], "should have at most 100000 items"),
        ("spec.shape", 7, "spec.shape=7"),
        ("spec.shape", [], "spec.shape=[]"),
        ("spec.shape", [5, 7], "spec.shape=[5, 7]: should have 3 dimensions"),
        ("spec.shape", [1, 0, 7], "spec.shape=[1, 0, 7]: should be greater than or equal to 1"),
        ("spec.shape", [1, 10**9, 10**9], "for one example"),
        ("spec.support", "grey", "spec.support=grey: should be 'binary', 'unit'"),
        ("spec.support", "mixed", "spec.columns: has 0 columns"),
        ("spec.kind", {}, "spec.kind={}"),
        ("spec.levels", 10**30, "spec.levels=1000"),
        ("spec.columns", [{"name": "a", "categories": [], "zzz": 1}], "spec.columns="),
        ("spec.name", 4, "spec.name=4: should be a valid string"),
        ("latent_dim", True, "latent_dim=true: should be a whole number of at least 1"),
        ("latent_dim", 0, "latent_dim=0: should be a whole number of at least 1"),
        ("latent_dim", "2", 'latent_dim="2": should be a whole number of at least 1'),
        ("latent_dim", 10**30, "encoder: "),
        ("model", None, "model=null: should name a class"),
        ("encoder", [1], "encoder=[1]: should name a class"),
        ("encoder.hidden", [4] * 20_000, "encoder: has more than 10,000 settings"),
        ("decoder.zzz", 1, "unknown key decoder.zzz"),
        ("format", 2, "unknown key format"),
    ],
)
def test_what_does_not_describe_a_model_is_named(folder: Path, place: str, value: Any, said: str) -> None:
    edit(folder, place, value)
    assert said in refused(folder)


ABSURD = [
    ("image", "latent_dim", 500_000, "encoder.net.3.weight has shape [4, 4] in model.safetensors and [1000000, 4]"),
    ("image", "encoder.hidden", [10**12], "encoder.net.1.weight has shape [4, 35]"),
    ("image", "encoder.hidden", [4] * 9_000, "has many more weights than the"),
    ("image", "decoder.blocks", 10**12, "has many more weights than the"),
    ("image", "decoder.widths", [10**15], "decoder: "),
    ("image", "spec.shape", [1, 10**5, 10**6], "offset has shape"),
    ("image", "likelihood.mixtures", 10**12, "offset has shape"),
    ("text", "encoder.layers", 10**12, "has many more weights than the"),
    ("text", "decoder.layers", 10**12, "has many more weights than the"),
    ("text", "decoder.width", 10**6, "has shape"),
    ("text", "spec.levels", 10**9, "has shape"),
    ("text", "spec.shape", [10**6, 10**6], "has shape"),
]


@pytest.mark.parametrize(("folder", "place", "value", "said"), ABSURD, indirect=["folder"])
def test_a_size_that_the_weights_do_not_have_takes_no_memory(folder: Path, place: str, value: Any, said: str) -> None:
    edit(folder, place, value)  # each would be gigabytes, or layers without end
    assert said in refused(folder)


def change(how: Callable[[dict[str, Tensor]], dict[str, Tensor]], folder: Path) -> None:
    path = folder / "model/model.safetensors"
    save_file(how(load_file(path)), path)


FIRST = "encoder.net.1.weight"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (lambda w: w | {FIRST: w[FIRST] * torch.nan}, f"{FIRST} holds NaN or infinity"),
        (lambda w: w | {FIRST: w[FIRST] / 0}, f"{FIRST} holds NaN or infinity"),
        (lambda w: {k: v.half() for k, v in w.items()}, "is F16 in model.safetensors and should be float32"),
        (lambda w: w | {FIRST: w[FIRST].int()}, f"{FIRST} is I32 in model.safetensors and should be float32"),
        (lambda w: w | {FIRST: w[FIRST].bool()}, f"{FIRST} is BOOL in model.safetensors and should be float32"),
        (lambda w: w | {FIRST: w[FIRST][:2].clone()}, f"{FIRST} has shape [2, 35] in model.safetensors and [4, 35]"),
        (lambda w: {k: v for k, v in w.items() if k != FIRST}, f"{FIRST} is missing in model.safetensors"),
        (lambda w: w | {"more": torch.zeros(3)}, "model.safetensors has more, model.json has not"),
        (lambda w: {}, "is missing in model.safetensors"),
    ],
)
def test_weights_that_are_not_those_of_the_model_are_named(folder: Path, how: Any, said: str) -> None:
    change(how, folder)
    assert said in refused(folder)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_weights_of_another_precision_of_training_are_taken_in_single(folder: Path, dtype: torch.dtype) -> None:
    before = vaelab.load(folder).model.state_dict()
    change(lambda w: {k: v.to(dtype) for k, v in w.items()}, folder)
    for name, tensor in vaelab.load(folder).model.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, before[name].to(dtype).float())


def test_a_file_without_a_digest_is_taken_as_it_is(folder: Path) -> None:
    before = vaelab.load(folder).model.state_dict()
    change(lambda w: w, folder)
    assert all(torch.equal(tensor, before[name]) for name, tensor in vaelab.load(folder).model.state_dict().items())


def test_no_bit_of_the_weights_changes_unnoticed(folder: Path) -> None:
    path, draw = folder / "model/model.safetensors", random.Random(0)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for _ in range(150):
        bits, place = (
            bytearray(whole),
            draw.choice([draw.randrange(8), draw.randrange(header), draw.randrange(len(whole))]),
        )
        bits[place] ^= 1 << draw.randrange(8)
        path.write_bytes(bits)
        if whole[place] != 0x20:  # a blank after the header, which may be another
            refused(folder)
    for size in (0, 1, 7, 8, 20, header - 1, header, header + 1, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert "broken or cut short" in refused(folder)
    path.write_bytes(whole + b"\0")
    assert "broken or cut short" in refused(folder)


def test_a_changed_bit_of_the_description_ends_in_a_message_or_in_a_model(folder: Path) -> None:
    path, draw = folder / "model/model.json", random.Random(0)
    whole = path.read_bytes()
    for _ in range(150):
        bits = bytearray(whole)
        bits[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        path.write_bytes(bits)
        with suppress(CheckpointError):
            vaelab.load(folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "broken or cut short"),
        (b"\xff\xfe{\x00}\x00", "broken or cut short"),
        (b"[" * 100_000 + b"]" * 100_000, "broken or cut short"),
        (b"[" * 50 + b"]" * 50, "more than 32 nested lists or objects"),
        (b'{"a": ' * 50 + b"1" + b"}" * 50, "more than 32 nested lists or objects"),
        (b"[" + b"{}," * 300_000 + b"1]", "has more than 262,144 lists and objects"),
        (b'{"latent_dim": NaN}', "NaN is no number that JSON has"),
        (b'{"latent_dim": ' + b"1" * 5_000 + b"}", "broken or cut short"),
        (rb'{"spec": "\ud800"}', "broken or cut short"),
        (b"[]", "does not describe a model"),
        (b"{}", "latent_dim: needs a value"),
        (rb'{"\u001b[2J": 1}', "unknown key"),
    ],
)
def test_a_description_that_is_no_plain_data_is_refused(folder: Path, content: bytes, said: str) -> None:
    (folder / "model/model.json").write_bytes(content)
    assert said in refused(folder)


def test_a_description_is_not_read_beyond_a_size(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (folder / "model/model.json").open("r+b") as file:
        file.truncate(2**40)
    assert f"is larger than {careful_read.MOST_BYTES:,} bytes" in refused(folder)
    spec = DataSpec("wide", "table", (500,), "mixed", columns=tuple(Column(f"c{n}", ("a", "b")) for n in range(500)))
    for limit, size in {"MOST_BYTES": 10_000, "MOST_CONTAINERS": 900}.items():
        monkeypatch.setattr(careful_read, limit, size)
        with pytest.raises(ConfigError, match=r"wide .* could not be loaded again \(its model\.json "):
            architecture(IMAGE, spec)  # before it is trained
        monkeypatch.undo()


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_only_a_file_is_read_as_one(folder: Path, name: str) -> None:
    path = folder / "model" / name
    path.unlink()
    path.mkdir()
    assert f"{name}: is no file" in refused(folder)
    path.rmdir()
    os.mkfifo(path)
    assert f"{name}: is no file" in refused(folder)
    path.unlink()
    path.symlink_to("/dev/zero")
    assert f"{name}: is no file" in refused(folder)
    path.unlink()
    path.symlink_to(path)
    assert f"holds no model ({name} is missing)" in refused(folder)


def test_a_place_that_cannot_be_looked_at_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        vaelab.load(tmp_path / ("a" * 5_000))
    with pytest.raises(CheckpointError, match="holds no model"):
        vaelab.load(tmp_path / "nowhere")


def test_a_header_that_claims_to_be_huge_is_not_read(folder: Path) -> None:
    path = folder / "model/model.safetensors"
    for claimed in (2**63, 2**40, 90_000_000):
        path.write_bytes(claimed.to_bytes(8, "little") + b"{}")
        with path.open("r+b") as file:
            file.truncate(100_000_000)
        assert "broken or cut short" in refused(folder)


class Computing(MLPEncoder):
    """As many networks: its constructor reads numbers of a tensor, and keeps a buffer that is not saved."""

    needs_spec = takes_condition = False

    def __init__(self, input_shape: tuple[int, ...], output_shape: tuple[int, ...], depth: int = 1) -> None:
        super().__init__(input_shape, output_shape, hidden=[4], activation="relu")
        self.rates = torch.linspace(0, 0.1, 3).tolist()
        self.register_buffer("scale", torch.full((), 0.5), persistent=False)
        self.more = nn.ModuleList(nn.Linear(1, 1) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.scale


def test_a_class_of_a_trusted_package_may_compute_in_its_constructor(tmp_path: Path) -> None:
    name = f"{__name__}.Computing"
    about = architecture(IMAGE | {"encoder": {"_target_": name}}, SPECS["image"])
    built = build_model(about, Builder([__name__])).eval()
    save_model(built, tmp_path / "model")
    x = torch.rand(3, 1, 5, 7)
    assert torch.equal(vaelab.load(tmp_path, trusted=(__name__,)).model.encode(x), built.encode(x))
    assert f"add trusted=[{__name__}]" in refused(tmp_path)
    edit(tmp_path, "encoder.depth", 10**12)
    with pytest.raises(CheckpointError, match="has many more weights than the"):
        vaelab.load(tmp_path, trusted=(__name__,))


@target
def small_encoder(input_shape: tuple[int, ...], output_shape: tuple[int, ...], spec: DataSpec) -> MLPEncoder:
    return MLPEncoder(input_shape, output_shape, hidden=[3], spec=spec, activation="relu")


@target
def plain_vae(encoder: nn.Module, decoder: nn.Module, likelihood: Likelihood, latent: LatentSpec) -> models.VAE:
    return models.VAE(encoder, decoder, likelihood, latent, Constant())


def test_registered_functions_of_a_trusted_package_stand_for_what_they_return(tmp_path: Path) -> None:
    names = {"encoder": "small_encoder", "model": "plain_vae"}
    parts = {group: {"_target_": f"{__name__}.{name}"} for group, name in names.items()}
    built = build_model(architecture(IMAGE | parts, SPECS["image"]), Builder([__name__])).eval()
    save_model(built, tmp_path / "model")
    x = torch.rand(3, 1, 5, 7)
    assert torch.equal(vaelab.load(tmp_path, trusted=(__name__,)).model.encode(x), built.encode(x))
    edit(tmp_path, "encoder._target_", f"{__name__}.refused")
    with pytest.raises(CheckpointError, match="is a function that is not registered"):
        vaelab.load(tmp_path, trusted=(__name__,))
