"""The DataModule that every data set shares."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict, Unpack

import lightning.pytorch as L
import torch
from annotated_types import Ge, Gt, Lt
from matplotlib.figure import Figure
from torch import Tensor

from vaelab.core.batch import Batch, RawBatch
from vaelab.core.noise import Noise, StepNoise, mix
from vaelab.core.spec import DataSpec
from vaelab.corruptions import Corruption
from vaelab.data.columns import features
from vaelab.data.examples import Examples, binarized, lengths, scale
from vaelab.data.factors import Factors
from vaelab.data.labels import drawn_by_class, label_numbers, renumbered
from vaelab.data.loader import EvalLoader, TrainLoader
from vaelab.data.plain import enough, plain
from vaelab.data.preparation import trained_spec
from vaelab.data.split import split
from vaelab.data.storage import CACHED, Storage, Store, place, stays_on_disk
from vaelab.errors import ConfigError, DataError

Binarize = Literal["static", "dynamic", "threshold"]
DIGESTED, BLOCKS = 2**26, 64  # bytes of a data set that its digest uses, and the number of blocks they are read in
EVALUATED = 2**24  # values of an evaluation batch, which can be larger than a training batch without gradients
Fraction = Annotated[float, Gt(0), Lt(1)]


class DataSettings(TypedDict):
    """Settings of every data set; see `DataModule`."""

    corruption: Corruption
    batch_size: Annotated[int, Gt(0)]
    val_fraction: Fraction
    test_fraction: Fraction
    split_seed: Annotated[int, Ge(0)]
    seed: Annotated[int, Ge(0)]
    labelled: NotRequired[Annotated[int, Gt(0)] | None]


class DataModule(L.LightningDataModule, ABC):
    """Splits, batches and prepares the examples that a subclass's `load` returns.

    The set's own test split is used if there is one; validation is the last part of a shuffle of
    the rest that depends only on `split_seed`, so that runs with different seeds are compared on the
    same examples. `batch_size` counts the examples of one batch over all devices. Scaling,
    binarization and corruption run on the device, on whole batches. `normal` lists the labels, as
    class names or indices, that train and validation are restricted to. Test keeps all labels, and if the set has no
    test split of its own, all other examples go to test, since rare anomalies are needed for evaluation.
    Examples without a label are then in no split.

    `labelled` is the number of examples of the train split that keep their label. They are drawn with `split_seed`,
    balanced over classes, and all other train labels become -1. Validation and test keep theirs.

    Attributes:
        storage: where examples are stored during the run; see `vaelab.data.storage.place`.
        labelled_share: the minimum share of labelled rows in an epoch. If fewer examples have a label, these are
            repeated within an epoch; 0 disables it. Set it before training begins.
        all_as_test: whether every example is in the test split, in the order of the files, and none is used for
            training: for new data of a trained model. Labels then only say which examples are normal, and are optional.
                Set it
            before the data are prepared.
    """

    storage: Storage = "auto"
    labelled_share: float = 0.0
    all_as_test: bool = False

    def __init__(
        self, binarize: Binarize | None, normal: list[str | int] | None = None, **settings: Unpack[DataSettings]
    ) -> None:
        super().__init__()
        self.corruption = settings["corruption"]
        self.batch_size = settings["batch_size"]
        self.val_fraction, self.test_fraction = settings["val_fraction"], settings["test_fraction"]
        self.split_seed, self.seed = settings["split_seed"], settings["seed"]
        self.binarize = binarize
        self.normal = normal
        self.labelled = settings.get("labelled")
        if self.labelled is not None and normal is not None:
            raise ConfigError(
                f"data.labelled={self.labelled} and data.normal={normal}: data.normal restricts train by its labels, "
                "so they cannot be hidden; leave one of the two out"
            )
        self._examples: Examples | None = None
        self._trained: DataSpec | None = None  # specification of the trained model that examples are prepared for
        self._every_label: Tensor | None = None  # all labels, before some were hidden
        self._content: str | None = None
        self._lengths: Tensor | None = None
        self._stores: dict[torch.device, Store] = {}
        self._train_loader: TrainLoader | None = None
        self._train_position: dict[str, Any] | None = None
        self.split: dict[str, Tensor] = {}

    @abstractmethod
    def load(self) -> Examples:
        """Read the data set into memory.

        Raises:
            DataError: it is missing, empty or damaged.
        """

    def prepare_as(self, folder: Path) -> None:
        """Prepare examples as for the model in `folder`, a run's `model/`: with its scales instead of new ones.

        Call it before `prepare_data` and `setup`. Most data are prepared in the same way in every run.

        Raises:
            DataError: the record in the folder cannot be read.
        """
        self._trained = trained_spec(folder)

    @property
    def spec(self) -> DataSpec:
        """The specification of one example, as a likelihood sees it: after binarization."""
        spec = self._loaded.spec
        if self.binarize is None:
            return spec
        return replace(spec, support="binary", levels=2)

    @property
    def _loaded(self) -> Examples:
        if self._examples is None:
            raise RuntimeError("call setup() before asking for data")
        return self._examples

    def setup(self, stage: str | None = None) -> None:
        """Load and split, once."""
        if self._examples is not None:
            return
        examples = self.load()
        if self.binarize is not None and not examples.spec.bounded:
            raise ConfigError(f"binarize={self.binarize}: {examples.spec.name} is not in [0, 1]")
        if self._trained is not None and self._trained.kind != examples.spec.kind:
            raise DataError(
                f"{examples.spec.name}: is {examples.spec.kind} data; the model was trained on {self._trained.name}, "
                f"which is {self._trained.kind} data"
            )
        if self.all_as_test:
            examples = self._labelled_as_trained(examples)
            none = torch.empty(0, dtype=torch.int64)
            self.split = {"train": none, "val": none, "test": torch.arange(len(examples.label))}
        else:
            normal = None if self.normal is None else self._is_normal(examples)
            self.split = split(examples, normal, self.val_fraction, self.test_fraction, self.split_seed)
            if self.labelled is not None:
                examples = self._labels_hidden(examples, self.labelled)
        examples = self._in_place(self.fitted(examples, self.split["train"]))
        if self.binarize == "static":  # by `split_seed`, of which the content must not depend
            self._content = digest(examples.values)
        self._examples = self._binarized(examples) if self.binarize == "static" else examples
        self._lengths = lengths(self._examples)

    def _labelled_as_trained(self, examples: Examples) -> Examples:
        """Convert labels to the class indices of the model."""
        if self._trained is None or not self._trained.classes:
            return examples
        label, classes = renumbered(examples.label, examples.spec.classes, self._trained.classes)
        return replace(examples, label=label, spec=replace(examples.spec, classes=classes))

    def _labels_hidden(self, examples: Examples, count: int) -> Examples:
        """Hide all train labels except `count`; the other splits keep theirs."""
        train = self.split["train"]
        self._every_label, label = examples.label, examples.label.clone()
        kept = train[drawn_by_class(label[train], count, mix(self.split_seed, "labelled"))]
        label[train] = -1
        label[kept] = examples.label[kept]
        return replace(examples, label=label)

    def _in_place(self, examples: Examples) -> Examples:
        """Place examples in memory or on disk, according to `storage`."""
        if self.storage == "disk" and not examples.file:
            raise ConfigError(
                f"storage=disk: {examples.spec.name} is read into memory; only images, tables, texts and series can "
                "stay on disk"
            )
        if self.storage == "memory" and examples.file:
            return replace(examples, values=examples.values.clone(), file=None)
        return examples

    def fitted(self, examples: Examples, train: Tensor) -> Examples:
        """Fit scales or vocabularies to `train`, rows of `values`, and apply them to all examples."""
        return examples

    def _is_normal(self, examples: Examples) -> Tensor:
        """Return for all examples `(N,)` whether they are normal."""
        if self.normal is None:
            return torch.ones(len(examples.label), dtype=torch.bool)
        if self.all_as_test and not (examples.label >= 0).any():
            return torch.zeros(len(examples.label), dtype=torch.bool)
        known = len(self._trained.classes) if self.all_as_test and self._trained is not None else None
        numbers = label_numbers(self.normal, examples.spec.classes, examples.label, known or None)
        return torch.isin(examples.label, torch.tensor(numbers))

    def _binarized(self, examples: Examples) -> Examples:
        """Binarize once for the whole run."""
        if stays_on_disk(examples.values, examples.file, self.storage):
            raise ConfigError(
                f"binarize=static: would keep a copy in memory of {examples.spec.name}, which is read from disk; "
                "use binarize=dynamic or threshold, or storage=memory"
            )
        return binarized(examples, self.split_seed)

    # Lightning's hooks

    def train_dataloader(self) -> TrainLoader:
        """Shuffled batches; see `TrainLoader`."""
        trainer = self.trainer
        self._train_loader = self._loader(
            epoch=lambda: trainer.current_epoch if trainer else 0,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )
        if self._train_position is not None:
            self._train_loader.load_state_dict(self._train_position)
        return self._train_loader

    def whole_train_loader(self, epoch: Callable[[], int]) -> TrainLoader:
        """The same batches, not split over devices, for training on a single device."""
        return self._loader(epoch)

    def _loader(self, epoch: Callable[[], int], rank: int = 0, world_size: int = 1) -> TrainLoader:
        return TrainLoader(
            self._store(), self._epoch_rows(), self.batch_size, self.seed, epoch, rank, world_size, self._lengths
        )

    @property
    def known_labels(self) -> int:
        """Train examples with a label."""
        return int((self.labels("train") >= 0).sum())

    @property
    def repeats(self) -> int:
        """How often each labelled example occurs in an epoch; see `labelled_share`."""
        known = self.known_labels if self.labelled_share else 0
        if not known:
            return 1
        others = len(self.split["train"]) - known
        return max(1, ceil(self.labelled_share / (1 - self.labelled_share) * others / known))

    @property
    def epoch_size(self) -> int:
        """Rows of an epoch: the examples of the train split, including repetitions."""
        repeated = self.repeats - 1
        return len(self.split["train"]) + (repeated * self.known_labels if repeated else 0)

    def _epoch_rows(self) -> Tensor:
        rows, repeats = self.split["train"], self.repeats
        if repeats == 1:
            return rows
        return torch.cat([rows, rows[self.labels("train") >= 0].repeat(repeats - 1)])

    def _store(self) -> Store:
        """The store of batches on the device of the run, shared by all loaders."""
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        if device not in self._stores:
            kept = self._loaded
            self._stores[device] = place(kept.values, kept.label, kept.file, self.storage, device)
        return self._stores[device]

    # Lightning restores a loader's own state only if nothing asked for the number of steps before,
    # and a learning-rate schedule has to ask; a data module's state it restores always.

    def state_dict(self) -> dict[str, Any]:
        """Return the position of training within its epoch."""
        return {} if self._train_loader is None else self._train_loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue within the epoch."""
        self._train_position = state_dict or None
        if self._train_loader is not None and state_dict:
            self._train_loader.load_state_dict(state_dict)

    def val_dataloader(self) -> EvalLoader:
        """The validation split in order."""
        return self.eval_loader("val")

    def test_dataloader(self) -> EvalLoader:
        """The test split in order."""
        return self.eval_loader("test")

    def eval_loader(
        self, split: str, batch_size: int | None = None, whole: bool = False, which: Tensor | None = None
    ) -> EvalLoader:
        """Any split in order, without augmentation, with noise tied to each example.

        Args:
            split: the split.
            batch_size: examples per batch; null for the batch size of evaluation.
            whole: whether every device gets the whole split, for work that one device does alone.
            which: positions in the split, in any order; null for all.
        """
        trainer = None if whole else self.trainer
        if trainer and trainer.world_size > len(self.split[split]):
            raise ConfigError(
                f"trainer.devices: {trainer.world_size} devices for the {len(self.split[split])} examples of the "
                f"{split} split; use fewer devices"
            )
        return EvalLoader(
            self._store(),
            self.split[split] if which is None else self.split[split][which],
            batch_size or max(self.batch_size, min(256, EVALUATED // self.spec.size)),
            mix(self.split_seed, split),
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
            lengths=self._lengths,
        )

    def batches(
        self,
        split: str,
        device: torch.device | str = "cpu",
        batch_size: int | None = None,
        which: Tensor | None = None,
    ) -> Iterator[Batch]:
        """Yield a whole split in order, or some positions of it, not split over devices, prepared as in evaluation."""
        for raw in self.eval_loader(split, batch_size, whole=True, which=which):
            yield self.on_after_batch_transfer(self.transfer_batch_to_device(raw, torch.device(device), 0), 0)

    def drawn(self, split: str, count: int) -> Tensor:
        """Return positions of at most `count` examples of a split to show; int64, the same in every run of these data.

        They are drawn with `split_seed` and balanced over classes as far as possible, since files are often sorted by
        class. One of each class comes first, in the order of the classes, then a second of each, and so on. If there
        are more classes than `count`, some classes are drawn; examples without a label count as a class.
        """
        generator = torch.Generator().manual_seed(mix(self.split_seed, split, "shown"))
        label = self.labels(split)
        order = torch.randperm(len(label), generator=generator)
        classes, group = label[order].unique(return_inverse=True)
        if len(classes) > count:
            kept = torch.randperm(len(classes), generator=generator)[:count]
            within = torch.isin(group, kept)
            order, group = order[within], group[within]
        by_group = group.argsort(stable=True)  # and within each in random order
        sizes = group.bincount(minlength=len(classes))
        turn = torch.empty_like(group)
        turn[by_group] = torch.arange(len(group)) - (sizes.cumsum(0) - sizes)[group[by_group]]
        return order[(turn * len(classes) + group).argsort()][:count]

    def clean(self, split: str, which: int | Tensor | None = None) -> Tensor:
        """Return clean examples `(N, *shape)` of a split: the first `which`, those at positions `which`, or all.

        They are scaled, but neither binarized nor corrupted.
        """
        rows = self.split[split][which] if isinstance(which, Tensor) else self.split[split][:which]
        return scale(self._loaded.values[rows], self._loaded.spec)

    def clean_parts(self, split: str, size: int = 512) -> Iterator[Tensor]:
        """Yield all of `clean` in parts of `size` examples: a split may be larger than memory."""
        return (self.clean(split, places) for places in torch.arange(len(self.split[split])).split(size))

    def mean(self) -> Tensor:
        """The mean that `Likelihood.raw_at` starts from, over the first 5,000 train examples, fewer if they are large.

        The mean of each value, `(*shape)`; for sequences, the mean over steps, `(*F, 1)`; for tokens, the frequency of
        each, `(V,)`; for a table with categories, the means of numbers, then frequencies. Without training it is over
        the test split, and not that of the model, which is in its checkpoint.
        """
        spec = self.spec
        values = self.clean("test" if self.all_as_test else "train", min(5_000, 1 + enough(spec) // 4))
        return mean_of(values, spec)

    def rows(self, split: str, which: int | Tensor | None = None) -> Tensor:
        """Return `clean` as `(N, R)` plain numbers, for classical methods; see `vaelab.data.plain`."""
        return plain(self.clean(split, which), self.spec)

    def written(self, stem: str, values: Tensor, generated: bool = True) -> dict[str, bytes | str]:
        """Return examples in the file formats of their kind: contents by path.

        Args:
            stem: the start of the paths.
            values: `(N, *shape)`, as a model sees or returns them.
            generated: whether a model generated them; tables then keep numbers within the range of train.
        """
        return {}

    def pictures(self, name: str, values: Tensor) -> dict[str, Figure]:
        """Draw figures of a few examples, by names that begin with `name`, for data other than images."""
        return {}

    def compared(
        self, name: str, versions: Mapping[str, Tensor], titles: Sequence[str] = (), step_scores: Tensor | None = None
    ) -> dict[str, Figure]:
        """Draw versions of the same few examples in one figure, by names that begin with `name`; empty if unsupported.

        Args:
            name: the name of the figure.
            versions: such as originals and reconstructions, `(N, *shape)` each, the reference first.
            titles: a title for each example.
            step_scores: `(N, T)`, a score for each step of a sequence.
        """
        return {}

    def texts(self, values: Tensor) -> list[str]:
        """Return a few examples as texts, one line each; empty for data other than text."""
        return []

    def files(self) -> dict[str, bytes | str]:
        """Return the files that prepare new examples for the model: contents by path in the run folder."""
        return {}

    def reading(self) -> dict[str, Any] | None:
        """Return how new examples are read for the model, stored in `model/data.json`; None if only for tensors.

        `reader` names a reader in `vaelab.data.reading`; all other keys are arguments of its class.
        """
        if self.spec.kind != "image":
            return None
        return {"reader": "images", "binarize": self.binarize}

    @property
    def lengths_vary(self) -> bool:
        """Whether batches are truncated to their longest sequence."""
        return self._lengths is not None

    def origins(self, rows: Tensor) -> dict[str, list[Any]]:
        """Return where examples were read from, as columns with a cell for each example; empty if unknown.

        Such as `file`, a path relative to `data.path`, or `row`, the index of a row in its file, from 0, not counting
        the line of column names.

        Args:
            rows: `(n,)` indices of examples in the data, as in `split`.
        """
        return {}

    @property
    def label_is_input(self) -> bool:
        """Whether a model sees the label among the values of an example."""
        return False

    def labels(self, split: str) -> Tensor:
        """Return labels `(N,)` int64, -1 for no label."""
        return self._loaded.label[self.split[split]]

    def labels_for_measuring(self, split: str) -> Tensor:
        """Return labels including those that `labelled` hides, for metrics that must not depend on what is hidden."""
        return self.labels(split) if self._every_label is None else self._every_label[self.split[split]]

    def factors(self, split: str) -> Factors | None:
        """Return the factors of variation of each example of a split, in order; None if unknown."""
        known = self._loaded.factors
        return None if known is None else known.at(self.split[split])

    @property
    def directions(self) -> Tensor | None:
        """Return the directions `(features, values per example)` of which examples are sparse sums; None if unknown."""
        return None

    @property
    def has_labels(self) -> bool:
        """Whether any example has a label."""
        return bool((self._loaded.label >= 0).any())

    def is_anomaly(self, split: str) -> Tensor:
        """Return `(N,)` bool: whether a label is not among `normal`; False without a label, or if `normal` is null."""
        return (~self._is_normal(self._loaded) & (self._loaded.label >= 0))[self.split[split]]

    @property
    def prevalence(self) -> float:
        """The share of anomalies among all labelled examples, in all splits."""
        known = self._loaded.label >= 0
        return float((~self._is_normal(self._loaded))[known].double().mean())

    @property
    def new_classes(self) -> tuple[str, ...]:
        """Classes of the data that the evaluated model has never seen."""
        trained = self._trained.classes if self._trained is not None and self.all_as_test else ()
        return self.spec.classes[len(trained) :] if trained else ()

    def fingerprint(self, for_measuring: bool = False) -> str:
        """Return a hexadecimal digest of stored values (up to a gigabyte of them), labels and splits.

        Args:
            for_measuring: whether labels are those of `labels_for_measuring`.
        """
        digest, values, label = hashlib.sha256(), self._loaded.values, self._loaded.label
        if for_measuring and self._every_label is not None:
            label = self._every_label
        every = -(-values.nbytes // CACHED)  # 1, unless reading all of them would take long
        for tensor in (*values[::every].split(4096), label, *self.split.values()):
            if len(tensor):  # what is empty has no view as bytes
                digest.update(tensor.contiguous().numpy().data.cast("B"))
        return digest.hexdigest()

    @property
    def examples(self) -> int:
        """The number of examples N, in all splits."""
        return len(self._loaded.label)

    def content(self) -> str:
        """A digest of the stored values, or a part of them if there are many; independent of the split."""
        if self._content is None:
            self._content = digest(self._loaded.values)
        return self._content

    def split_digests(self) -> dict[str, str]:
        """Return a digest of the rows of each split."""
        return {name: digest(rows, whole=True) for name, rows in self.split.items()}

    def transfer_batch_to_device(self, batch: RawBatch, device: torch.device, dataloader_idx: int) -> RawBatch:
        """Move a batch to a device; faster than Lightning's own, which traverses nested collections at each step."""
        values, label = batch.values.to(device, non_blocking=True), batch.label.to(device, non_blocking=True)
        return RawBatch(values, label, batch.noise, batch.weight, batch.steps)

    def on_after_batch_transfer(self, batch: RawBatch | Batch, dataloader_idx: int) -> Batch:
        """Scale, binarize and corrupt a batch on its device, then remove padding that all its examples share."""
        if isinstance(batch, Batch):
            return batch
        clean = scale(batch.values, self._loaded.spec)
        if isinstance(batch.noise, StepNoise):  # of training alone; evaluation ties its noise to the example
            clean = self.augmented(clean, batch.noise)
        target = self._observed(clean, batch)
        corrupts = self.corruption.changes
        x = self._corrupted(clean, batch.noise) if corrupts else target
        if batch.steps is not None:  # not before: noise of the whole shape is the same whoever else is in the batch
            x, target, clean = (kept[..., : batch.steps] for kept in (x, target, clean))
        return Batch(x, target, batch.label, clean, batch.noise, batch.weight)

    def _corrupted(self, clean: Tensor, noise: Noise) -> Tensor:
        untouched = None if clean.is_inference() else clean._version
        x = self.corruption(clean, noise, self._loaded.spec)
        name = type(self.corruption).__name__
        if untouched is not None and clean._version != untouched:
            raise ConfigError(f"corruption: {name} changes the clean examples in place; it should give a new tensor")
        if not isinstance(x, Tensor) or x.shape != clean.shape:
            given = f"shape {list(x.shape)}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
            raise ConfigError(f"corruption: {name} gives {given}: should be of shape {list(clean.shape)}")
        return x

    def augmented(self, clean: Tensor, noise: Noise) -> Tensor:
        """Augment a training batch `(B, *shape)`; evaluation uses no augmentation."""
        return clean

    def _observed(self, clean: Tensor, batch: RawBatch) -> Tensor:
        if self.binarize == "dynamic":
            uniform = batch.noise.uniform("binarize", clean.shape[1:], clean.device)
            return (uniform < clean).to(clean.dtype)
        if self.binarize == "threshold":
            return (clean > 0.5).to(clean.dtype)
        return clean


def mean_of(values: Tensor, spec: DataSpec) -> Tensor:
    """Return the mean of examples `(N, *shape)`, in the form of `DataModule.mean`."""
    if spec.support == "categories":
        counts = torch.bincount(values[values >= 0], minlength=spec.levels or 0).float()
        return counts / counts.sum()
    if spec.support == "mixed":
        rows = features(values, spec.columns)
        return rows.nanmean(0).nan_to_num()
    if spec.sequential:
        return values.nanmean((0, -1)).unsqueeze(-1).nan_to_num()
    return values.nanmean(0).nan_to_num()


def digest(values: Tensor, whole: bool = False) -> str:
    """Return a hexadecimal digest of rows and their shape; of large data only `BLOCKS` blocks, unless `whole`."""
    sha = hashlib.sha256(str((values.dtype, tuple(values.shape))).encode())
    rows, size = len(values), max(1, values[:1].nbytes)
    at_once = max(1, DIGESTED // BLOCKS // size)
    few = whole or values.nbytes <= DIGESTED
    starts = range(0, rows, at_once) if few else [(rows - at_once) * n // (BLOCKS - 1) for n in range(BLOCKS)]
    for first in starts:
        sha.update(values[first : first + at_once].contiguous().numpy().data.cast("B"))
    return sha.hexdigest()[:32]
