"""Use a LightningDataModule of the user's own as data of a run."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Unpack

import lightning.pytorch as L
import torch
from annotated_types import Ge, Le
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler

from vaelab.core.spec import DataSpec
from vaelab.data.examples import Examples
from vaelab.data.module import Binarize, DataModule, DataSettings
from vaelab.data.plain_batches import labels_of, parts_of
from vaelab.errors import ConfigError, DataError

KINDS = {"image": ("(C, H, W)", 3), "table": ("(columns,)", 1), "series": ("(channels, steps)", 2)}
LOADERS = {"train": "train_dataloader", "val": "val_dataloader", "test": "test_dataloader"}


class Own(DataModule):
    """Reads the loaders of a LightningDataModule once, and keeps the examples in memory.

    Its splits are kept; a split without a loader is cut from train. A loader that only shuffles is read in order, so
    that examples have the same positions in each run; random transforms are drawn once, with `split_seed`. Values are
    not scaled: scaling is left to the module.

    Args:
        module: its batches are x, or (x, y), in which whole numbers y are labels.
        kind: what one example is: an image `(C, H, W)`, a row of a table `(columns,)`, a series `(channels, steps)`.
        support: the range of values: `unit` for [0, 1], `binary` for 0 and 1, `real` for any numbers.
        levels: the number of equally spaced values, including both ends; null for continuous data. uint8 values
            count as 256 levels unless this is set.
        classes: names of the labels; null: their numbers.
        name: of the data; null: the name of the module's class.
        binarize, normal, settings: see `DataModule`.
    """

    def __init__(
        self,
        module: L.LightningDataModule | None,
        kind: Literal["image", "table", "series"],
        support: Literal["unit", "binary", "real"],
        levels: Annotated[int, Ge(2), Le(256)] | None,
        classes: list[str] | None,
        name: str | None,
        binarize: Binarize | None,
        normal: list[str | int] | None,
        **settings: Unpack[DataSettings],
    ) -> None:
        super().__init__(binarize, normal, **settings)
        if module is None:
            raise ConfigError(
                "data.module: needs a LightningDataModule of yours, such as +data.module._target_=my_package.Mine with "
                "trusted=[my_package]"
            )
        self.module, self.kind, self.support, self.levels = module, kind, support, levels
        self.classes = classes
        self.name: str = name or type(module).__name__

    def load(self) -> Examples:
        """See `DataModule.load`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.split_seed)
            self.module.prepare_data()
            found = {split: self._read(split) for split in LOADERS if self._has(split)}
        if "train" not in found:
            raise DataError(f"{self.name}: has no train_dataloader")
        parts, first = {}, 0
        for split, (x, _) in found.items():
            parts[split] = range(first, first + len(x))
            first += len(x)
        shapes = {split: tuple(x.shape[1:]) for split, (x, _) in found.items()}
        if len(set(shapes.values())) > 1:
            raise DataError(f"{self.name}: its splits have examples of different shapes, {shapes}")
        values, label = (torch.cat(both) for both in zip(*found.values(), strict=True))
        return Examples(*self._fitting(values, label), parts)

    def _has(self, split: str) -> bool:
        return is_overridden(LOADERS[split], self.module, L.LightningDataModule)

    def _read(self, split: str) -> tuple[Tensor, Tensor]:
        """All examples of a split, and their labels."""
        self.module.setup("test" if split == "test" else "fit")
        loader: Any = getattr(self.module, LOADERS[split])()
        place = f"{self.name}.{LOADERS[split]}"
        if isinstance(loader, dict | list | tuple) or not hasattr(loader, "__iter__"):
            raise DataError(f"{place}: gives {type(loader).__name__}; should give one loader of x, or (x, y)")
        rows: list[Tensor] = []
        labels: list[Tensor] = []
        for batch in _in_order(loader):
            x, y = parts_of(batch)
            if x is None:
                raise DataError(f"{place}: gives a {type(batch).__name__}; should give a tensor x, or (x, y)")
            if rows and x.shape[1:] != rows[0].shape[1:]:
                raise DataError(f"{place}: examples differ in shape, {list(rows[0].shape[1:])} and {list(x.shape[1:])}")
            rows.append(x.detach().cpu())
            labels.append(labels_of(x, y).cpu())
        if not sum(map(len, rows)):
            raise DataError(f"{place}: gives no examples")
        return torch.cat(rows), torch.cat(labels)

    def _fitting(self, values: Tensor, label: Tensor) -> tuple[Tensor, Tensor, DataSpec]:
        """Values as they are stored, labels and the spec.

        Raises:
            ConfigError: they are not what the settings say; names the setting.
        """
        words, dimensions = KINDS[self.kind]
        if values.dim() != dimensions + 1:
            raise ConfigError(f"data.kind={self.kind}: an example is {words}, and those of {self.name} have the shape "
                              f"{list(values.shape[1:])}")  # fmt: skip
        levels = self.levels
        if values.dtype == torch.uint8 and self.support != "real":
            levels = levels or (2 if self.support == "binary" else 256)
            if int(values.max()) >= levels:
                raise ConfigError(f"data.levels={levels}: {self.name} has the count {int(values.max())}")
        else:
            values = values.to(torch.get_default_dtype())
            self._refuse_outside(values)
        if self.support == "binary":
            levels = 2
        missing = values.is_floating_point() and bool(values.isnan().any())
        highest = int(label.max())
        classes = self.classes if self.classes is not None else [str(number) for number in range(highest + 1)]
        if highest >= len(classes):
            raise ConfigError(f"data.classes: names {len(classes)} classes, and {self.name} has the label {highest}")
        shape = tuple(values.shape[1:])
        known = tuple(classes) if highest >= 0 else ()
        return values, label, DataSpec(self.name, self.kind, shape, self.support, levels, known, has_missing=missing)

    def _refuse_outside(self, values: Tensor) -> None:
        if values.isinf().any() or (self.kind == "image" and values.isnan().any()):
            raise DataError(f"{self.name}: has values that are infinite, or pixels that are no number")
        if self.support == "real":
            return
        low, high = float(values.nan_to_num(0.5).min()), float(values.nan_to_num(0.5).max())
        if low < 0 or high > 1:
            raise ConfigError(f"data.support={self.support}: {self.name} has values from {low:g} to {high:g}; scale "
                              "them to [0, 1], or use data.support=real")  # fmt: skip
        levels = 2 if self.support == "binary" else self.levels
        steps = values.nan_to_num(0) * ((levels or 2) - 1)
        if levels and float((steps - steps.round()).abs().max()) > 1e-3:
            setting = "data.support=binary" if self.support == "binary" else f"data.levels={levels}"
            raise ConfigError(f"{setting}: {self.name} has values between its levels")


def _in_order(loader: Any) -> Iterator[Any]:
    """The batches of a loader; of one that shuffles all examples in the order of these."""
    sampler: Any = getattr(loader, "sampler", None)
    shuffles = isinstance(loader, DataLoader) and isinstance(sampler, RandomSampler) and not sampler.replacement
    if shuffles and sampler.num_samples == len(loader.dataset):
        settings = {"collate_fn": loader.collate_fn, "num_workers": loader.num_workers}
        loader = DataLoader(loader.dataset, loader.batch_size or 1, **settings)
    yield from loader
