"""AE and VAE by plain Lightning: a Trainer, and a LightningDataModule that knows nothing of vaelab."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

from vaelab import AE, VAE
from vaelab.backbones import MLPDecoder, MLPEncoder
from vaelab.core import DataSpec
from vaelab.errors import UserError
from vaelab.likelihoods import ContinuousBernoulli, Gaussian

SPEC = DataSpec("stripes", "image", (1, 4, 4), "unit", 256, ("a", "b"))


class Stripes(L.LightningDataModule):
    """Images of one bright row, whose label says which half it lies in."""

    def __init__(self, labels: bool = True, batch_size: int = 16) -> None:
        super().__init__()
        row = torch.arange(128) % 4
        x = torch.nn.functional.one_hot(row, 4).float().view(-1, 1, 4, 1).expand(-1, 1, 4, 4) * 0.9
        self.data = TensorDataset(x, row // 2) if labels else TensorDataset(x)
        self.batch_size = batch_size

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.data, batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.data, batch_size=self.batch_size)

    def test_dataloader(self) -> DataLoader[Any]:
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[Any]:
        return self.val_dataloader()


def parts(code: int, spec: DataSpec = SPEC) -> dict[str, Any]:
    torch.manual_seed(0)
    likelihood = Gaussian(spec, 0.1)
    encoder, decoder = (
        MLPEncoder(spec.shape, code, [32], activation="relu"),
        MLPDecoder(2, likelihood.raw_shape, [32], activation="relu"),
    )
    return {"encoder": encoder, "decoder": decoder, "likelihood": likelihood, "latent": 2}


def trainer(folder: Path, **settings: Any) -> L.Trainer:
    quiet: Any = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    return L.Trainer(default_root_dir=folder, accelerator="cpu", **(quiet | {"max_epochs": 5} | settings))


def test_ten_lines_train_and_evaluate_a_vae(tmp_path: Path) -> None:
    likelihood = ContinuousBernoulli(DataSpec("stripes", "image", (1, 4, 4), "unit", 256))
    encoder, decoder = (
        MLPEncoder((1, 4, 4), 2 * 16, [32], activation="relu"),
        MLPDecoder(16, likelihood.raw_shape, [32], activation="relu"),
    )
    trainer = L.Trainer(max_epochs=5, default_root_dir=tmp_path, logger=False, enable_progress_bar=False)
    model, data = VAE(encoder, decoder, likelihood, 16), Stripes()
    (before,) = trainer.validate(model, datamodule=data, verbose=False)
    trainer.fit(model, datamodule=data)
    (after,) = trainer.test(model, datamodule=data, verbose=False)
    assert after["test/elbo"] > before["val/elbo"]


@pytest.mark.parametrize(("kind", "code"), [(AE, 2), (VAE, 4)])
def test_checkpoints_load_with_the_parts_they_were_made_of(tmp_path: Path, kind: Any, code: int) -> None:
    best = ModelCheckpoint(tmp_path, monitor=kind.objective_class.monitor[0], mode="max")
    ours = trainer(tmp_path, callbacks=[best])
    ours.fit(kind(**parts(code), optimizer=partial(torch.optim.SGD, lr=1e-4)), datamodule=Stripes())
    assert isinstance(ours.optimizers[0], torch.optim.SGD)
    again = kind.load_from_checkpoint(best.best_model_path, **parts(code))
    found = [trainer(tmp_path).validate(m, Stripes(), verbose=False)[0] for m in (again, ours.lightning_module)]
    assert found[0] == found[1]


def test_a_run_goes_on_from_a_plain_checkpoint_bit_for_bit(tmp_path: Path) -> None:
    def fit(epochs: int, name: str, start: Path | None = None) -> VAE:
        L.seed_everything(3, verbose=False)
        model = VAE(**parts(4))
        ours = trainer(tmp_path / name, max_epochs=epochs, enable_checkpointing=False)
        data = Stripes(batch_size=128)  # one batch an epoch, so that no shuffle matters but for the rows' noise
        data.train_dataloader = data.val_dataloader
        ours.fit(model, datamodule=data, ckpt_path=start)
        ours.save_checkpoint(tmp_path / f"{name}.ckpt")
        return model

    whole = fit(4, "whole")
    fit(2, "half")
    resumed = fit(4, "resumed", tmp_path / "half.ckpt")
    for name, weight in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], weight), name


def test_evaluation_does_not_depend_on_how_examples_are_batched(tmp_path: Path) -> None:
    model = VAE(**parts(4))
    found = [trainer(tmp_path).test(model, Stripes(batch_size=n), verbose=False)[0] for n in (16, 50)]
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_predictions_are_codes_and_reconstructions_in_order(tmp_path: Path) -> None:
    model, data = VAE(**parts(4)), Stripes()
    predicted: Any = trainer(tmp_path).predict(model, data)
    code = torch.cat([batch.latent for batch in predicted])
    torch.testing.assert_close(code, model.eval().model.encode(data.data.tensors[0]).detach())


def test_labels_reach_a_model_that_takes_them(tmp_path: Path) -> None:
    spec, likelihood = SPEC, Gaussian(SPEC, 0.1)
    encoder, decoder = (
        MLPEncoder(spec.shape, 4, [8], condition_size=3, activation="relu"),
        MLPDecoder(2 + 3, likelihood.raw_shape, [8], activation="relu"),
    )
    model = VAE(encoder, decoder, likelihood, 2, condition="label", condition_size=3)
    before = model.model.condition.embedding.weight.detach().clone()
    trainer(tmp_path, max_epochs=1).fit(model, datamodule=Stripes())
    assert bool((model.model.condition.embedding.weight != before).any(1).all())


def test_training_starts_from_the_mean_of_the_data(tmp_path: Path) -> None:
    model = AE(**parts(2))
    trainer(tmp_path, max_steps=1, limit_val_batches=0).fit(model, datamodule=Stripes(labels=False))
    mean = torch.full(SPEC.shape, 0.9 / 4)
    torch.testing.assert_close(model.model.offset, model.model.likelihood.raw_at(mean).expand_as(model.model.offset))


@pytest.mark.parametrize("batch", [{"x": torch.zeros(2, 1, 4, 4)}, torch.zeros(2, 4, 4), (torch.zeros(2, 1, 4, 5), 1)])
def test_what_is_no_batch_is_refused_by_its_shape_or_type(tmp_path: Path, batch: Any) -> None:
    with pytest.raises(UserError, match=r"a batch of (type|shape) .*should be a tensor x, or \(x, y\).*\(B, 1, 4, 4\)"):
        trainer(tmp_path).validate(AE(**parts(2)), DataLoader([batch], batch_size=None), verbose=False)


@pytest.mark.long
def test_importing_the_package_stays_light() -> None:
    heavy = "import sys, vaelab; assert not {'torch', 'lightning'} & sys.modules.keys(); vaelab.VAE"
    subprocess.run([sys.executable, "-c", heavy], check=True, timeout=120)
