"""A transformer over the indices of discrete codes, trained after the model."""

import json
import shutil
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from vaelab.backbones.transformer import TransformerDecoder
from vaelab.careful_read import digest
from vaelab.config.builder import Builder
from vaelab.core import DataSpec
from vaelab.core.noise import mix
from vaelab.corruptions import Identity
from vaelab.data.examples import Examples
from vaelab.data.module import DataModule
from vaelab.latents.fitted import Codes, LabelledPrior, checked_label
from vaelab.latents.spec import LatentSpec
from vaelab.likelihoods.categorical import Categorical
from vaelab.models.decoder_alone import DecoderAlone
from vaelab.training.beside import Budget, train_beside
from vaelab.training.optimization import Optimization

CHUNK = 512
LABEL_SIZE = 32  # dimension of the label embedding
LABEL_DROPOUT = 0.1  # probability in training that a label is dropped, to learn p(indices) too
MOST_WIDTH, MOST_LAYERS, MOST_CLASSES = 4_096, 128, 1_000_000  # upper bounds for a saved file


class Autoregressive(LabelledPrior):
    """p(indices) as a product over positions in raster order, each given those before it (van den Oord et al., 2017).

    For a conditional model it is p(indices|label). Some labels are dropped in training, so that p(indices) is learned
    too.

    Args:
        width, layers, heads: of the transformer.
        steps: number of optimizer steps.
        batch_size: examples of a step.
        lr: initial learning rate of AdamW, which falls to 0 on a cosine schedule.
    """

    name: ClassVar[str] = "autoregressive"
    discrete: ClassVar[bool] = True
    keeps_weights: ClassVar[bool] = True

    def __init__(
        self,
        width: Annotated[int, Gt(0)],
        layers: Annotated[int, Gt(0)],
        heads: Annotated[int, Gt(0)],
        steps: Annotated[int, Ge(1)],
        batch_size: Annotated[int, Gt(0)],
        lr: Annotated[float, Gt(0)],
    ) -> None:
        self.width, self.layers, self.heads = width, layers, heads
        self.steps, self.batch_size, self.lr = steps, batch_size, lr
        self.network: DecoderAlone | None = None
        self._classes = 0

    @property
    def settings(self) -> dict[str, Any]:
        """See `FittedPrior.settings`."""
        return {
            "width": self.width, "layers": self.layers, "heads": self.heads,
            "steps": self.steps, "batch_size": self.batch_size, "lr": self.lr,
        }  # fmt: skip

    @property
    def dimensions(self) -> int:
        """See `FittedPrior.dimensions`."""
        return 0 if self.network is None else self.network.likelihood.spec.shape[0]

    @property
    def classes(self) -> int:
        """See `LabelledPrior.classes`."""
        return self._classes

    def fit(self, codes: Codes) -> Self:
        """Train the network; the weights with the highest likelihood of the validation codes are kept."""
        with torch.random.fork_rng():
            torch.manual_seed(mix(codes.seed, self.name))
            self._classes = len(codes.classes)
            self.network = self._network(codes.latent)
        data = _CodeData(codes, self.network.likelihood.spec, self.batch_size)
        adamw = {"_target_": "torch.optim.AdamW", "lr": self.lr}
        cosine = {"_target_": "vaelab.training.schedulers.Cosine", "warmup_steps": self.steps // 20, "final": 0.0}
        budget = Budget(self.steps, self.steps, clip=1.0)
        optimization = Optimization(adamw, cosine, Builder())
        folder = None if codes.folder is None else self._own_folder(codes, codes.folder)
        train_beside(self.network, data, optimization, budget, codes.device, codes.say, folder)
        return self

    def _own_folder(self, codes: Codes, folder: Path) -> Path:
        """The folder of this fit's checkpoints; those for other codes, from earlier weights, are removed."""
        values = {"train": codes.train, "val": codes.val}
        if codes.train_label is not None:
            values["label"] = codes.train_label
        asked = json.dumps([self.settings, codes.seed, digest(values)])
        own = folder / sha256(asked.encode()).hexdigest()[:12]
        for other in folder.iterdir() if folder.is_dir() else ():
            if other != own and other.is_dir():
                shutil.rmtree(other)
        return own

    @torch.no_grad()
    def sample(self, count: int, seed: int = 0, temperature: float = 1.0, label: Tensor | None = None) -> Tensor:
        """See `LabelledPrior.sample`."""
        network = self._fitted
        generator = torch.Generator(network.device).manual_seed(seed)

        def choose(raw: Tensor) -> Tensor:
            return network.likelihood.sample(raw / temperature, generator)

        labels = checked_label(label, count, self.classes).to(network.device).split(CHUNK)
        zeros = torch.zeros(count, 1, device=network.device).split(CHUNK)
        return torch.cat([network.generated(z, choose, part).cpu() for z, part in zip(zeros, labels, strict=True)])

    @torch.no_grad()
    def log_prob(self, codes: Tensor, label: Tensor | None = None) -> Tensor:
        """See `LabelledPrior.log_prob`."""
        network = self._fitted
        zeros = torch.zeros(len(codes), 1, device=network.device).split(CHUNK)
        labels = checked_label(label, len(codes), self.classes).to(network.device).split(CHUNK)
        indices = codes.to(network.device).split(CHUNK)
        parts = [network.log_likelihood(*each) for each in zip(zeros, indices, labels, strict=True)]
        return torch.cat(parts).to(codes.device)

    def to_json(self) -> dict[str, Any]:
        """See `FittedPrior.to_json`."""
        spec = self._fitted.likelihood.spec
        return {
            "fitted_prior": self.name, "places": self.dimensions, "levels": spec.levels, "classes": self.classes,
            **self.settings,
        }  # fmt: skip

    def weights(self) -> dict[str, Tensor]:
        """Weights of the network."""
        return dict(self._fitted.state_dict())

    @classmethod
    def from_json(cls, about: Mapping[str, Any], latent: LatentSpec) -> Self:
        """See `FittedPrior.from_json`."""
        numbers = {name: about[name] for name in ("width", "layers", "heads", "steps", "batch_size")}
        if not all(type(number) is int and number > 0 for number in numbers.values()):
            raise ValueError("its settings should be integers of at least 1")
        if numbers["width"] > MOST_WIDTH or numbers["layers"] > MOST_LAYERS:
            raise ValueError("its network is too large")
        # Rotary positions have no weights, so the network's weights do not determine the number of positions.
        if (about["places"], about["levels"]) != (latent.finest.tokens, latent.finest.levels):
            raise ValueError("is for another number of indices, or of levels")
        made = cls(**numbers, lr=float(about["lr"]))
        made._classes = about.get("classes", 0)  # version 0.1 did not write it
        if type(made._classes) is not int or not 0 <= made._classes <= MOST_CLASSES:
            raise ValueError(f"classes should be an integer from 0 to {MOST_CLASSES}")
        made.network = made._network(latent).eval()
        return made

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """See `FittedPrior.load_weights`."""
        self._fitted.load_state_dict(dict(weights))

    @property
    def _fitted(self) -> DecoderAlone:
        if self.network is None:
            raise RuntimeError("fit the prior before it is used")
        return self.network

    def _network(self, latent: LatentSpec) -> DecoderAlone:
        group = latent.finest
        classes = tuple(str(number) for number in range(self.classes))
        spec = DataSpec("codes", "tokens", (group.tokens,), "categories", levels=group.levels, classes=classes)
        likelihood, label_size = Categorical(spec), LABEL_SIZE if classes else 0
        decoder = TransformerDecoder(
            1 + label_size, likelihood.raw_shape, spec, self.width, self.layers, self.heads, word_dropout=0.0
        )
        return DecoderAlone(decoder, likelihood, label_size, LABEL_DROPOUT)


class _CodeData(DataModule):
    """Indices as the examples of a data set."""

    def __init__(self, codes: Codes, spec: DataSpec, batch_size: int) -> None:
        super().__init__(
            binarize=None, corruption=Identity(), batch_size=batch_size, val_fraction=0.1, test_fraction=0.1,
            split_seed=0, seed=codes.seed,
        )  # fmt: skip
        values = torch.cat([codes.train, codes.val])
        label = torch.full((len(values),), -1)
        if codes.train_label is not None and codes.val_label is not None:
            label = torch.cat([codes.train_label, codes.val_label])
        places = torch.arange(len(values))
        self._examples = Examples(values, label, spec, {"train": range(len(values))})
        self.split = {"train": places[: len(codes.train)], "val": places[len(codes.train) :], "test": places[:0]}

    def load(self) -> Examples:
        """The given indices."""
        return self._loaded
