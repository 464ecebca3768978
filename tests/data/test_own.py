"""A LightningDataModule from a package outside this one stands as `data=lightning`."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

MINE = '''
import lightning.pytorch as L
import torch
from torch.utils.data import DataLoader, TensorDataset


class Mine(L.LightningDataModule):
    """Images whose brightness is their label."""

    def __init__(self, shape: list[int] = [1, 8, 8], scale: float = 1.0, whole: bool = True):
        super().__init__()
        self.shape, self.scale, self.whole = shape, scale, whole

    def setup(self, stage):
        label = torch.arange(120) % 3
        x = torch.rand(120, *self.shape, generator=torch.Generator().manual_seed(0))
        self.x, self.y = self.scale * (x + label.view(-1, *[1] * len(self.shape))) / 3, label

    def loader(self, first, last, shuffle=False):
        rows = TensorDataset(self.x[first:last], self.y[first:last])
        return DataLoader(rows, batch_size=16, shuffle=shuffle, drop_last=shuffle)

    def train_dataloader(self):
        return self.loader(0, 90, shuffle=True)

    def val_dataloader(self):
        return self.loader(90, 100)


class Split(Mine):
    def test_dataloader(self):
        return self.loader(100, 120)


class Several(Mine):
    def val_dataloader(self):
        return [self.loader(90, 100)]


class Other:
    pass


class Dicts(Mine):
    def train_dataloader(self):
        return DataLoader([{"x": row} for row in self.x], batch_size=8)
'''
SMALL = ("data=lightning", "trusted=[mine_data]", "encoder.hidden=[8]", "decoder.hidden=[8]", "trainer.max_epochs=1")
SMALL += ("latent_dim=2", "task.baselines=false", "task.nll_samples=2", "likelihood=continuous_bernoulli")


@pytest.fixture(autouse=True)
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_data.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.long
def test_its_splits_and_labels_are_kept(train: Any) -> None:
    run = train(*SMALL, "+data.module._target_=mine_data.Split")
    about = json.loads((run / "model/model.json").read_text())
    assert about["spec"]["classes"] == ["0", "1", "2"]
    assert "test/nll" in json.loads((run / "metrics.json").read_text())


def test_examples_are_those_of_the_loaders_in_their_order(package: None) -> None:
    import mine_data

    from vaelab.corruptions import Identity
    from vaelab.data.own import Own

    module = mine_data.Mine()
    usual = {"corruption": Identity(), "batch_size": 16, "val_fraction": 0.1, "test_fraction": 0.2, "split_seed": 0}
    data, again = (Own(module, "image", "unit", None, None, None, None, None, seed=seed, **usual) for seed in (0, 1))
    data.setup()
    again.setup()
    assert {name: len(rows) for name, rows in data.split.items()} == {"train": 72, "val": 10, "test": 18}
    torch.testing.assert_close(data.clean("val"), module.x[90:100])
    rows = torch.cat([data.split["train"], data.split["test"]]).sort().values
    assert torch.equal(rows, torch.arange(90))
    assert data.content() == again.content()
    assert torch.equal(data.labels("val"), module.y[90:100])


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "likelihood"),
    [(["data.kind=table", "+data.module.shape=[5]", "data.support=real", "+data.module.scale=4"], "gaussian"),
     (["data.kind=series", "+data.module.shape=[2,9]", "data.support=real", "encoder=conv1d"], "gaussian")],
)  # fmt: skip
def test_tables_and_series_train_too(train: Any, words: list[str], likelihood: str) -> None:
    small = [word for word in SMALL if "hidden" not in word] if "encoder=conv1d" in words else SMALL
    run = train(*small, "+data.module._target_=mine_data.Split", *words, f"likelihood={likelihood}")
    assert "test/nll" in json.loads((run / "metrics.json").read_text())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "data.module: needs a LightningDataModule"),
        (["+data.module._target_=mine_data.Nothing"], "data.module._target_=mine_data.Nothing: does not exist"),
        (["+data.module._target_=mine_data.Other"], "should be a LightningDataModule"),
        (["+data.module._target_=mine_data.Mine", "+data.module.shap=[1]"], "unknown key data.module.shap"),
        (["+data.module._target_=mine_data.Mine", "trusted=[]"], "add trusted=[mine_data]"),
        (["+data.module._target_=mine_data.Mine", "data.kind=table"], "data.kind=table: an example is (columns,)"),
        (["+data.module._target_=mine_data.Mine", "+data.module.scale=3"], "data.support=unit: Mine has values"),
        (["+data.module._target_=mine_data.Mine", "data.levels=4"], "data.levels=4: Mine has values between"),
        (["+data.module._target_=mine_data.Mine", "data.classes=[a]"], "data.classes: names 1 classes"),
        (["+data.module._target_=mine_data.Several"], "Several.val_dataloader: gives list"),
        (["+data.module._target_=mine_data.Dicts"], "Dicts.train_dataloader: gives a dict"),
    ],
)
def test_what_does_not_fit_is_one_line(train: Any, capsys: Any, words: list[str], said: str) -> None:
    with pytest.raises(SystemExit):
        train(*SMALL, *words)
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1
