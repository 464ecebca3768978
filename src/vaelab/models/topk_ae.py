"""Sparse autoencoders that keep the k largest values of a code and set the others to zero."""

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple, Unpack

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from vaelab.core.batch import Batch
from vaelab.core.devices import gathered
from vaelab.errors import ConfigError
from vaelab.latents import Draw, Point
from vaelab.models.ae import AE, AESettings, refuse_what_is_no_number
from vaelab.models.schedules import Scheduled
from vaelab.models.terms import NONE, Start, Terms

EXAMPLES, ACTIVE, LEAST, BATCHES = "sparse_examples", "sparse_active", "sparse_least", "sparse_batches"
NEW = 0.01  # weight of a new batch in the moving average of the threshold


class Sparse(NamedTuple):
    """A code with few nonzero values.

    Attributes:
        mean: `(B, D)`, the code.
        before: `(B, D)`, nonnegative, the code before most of its values were set to zero.
        least: the smallest value that is kept in the batch; 0 if k applies to each example.
    """

    mean: Tensor
    before: Tensor
    least: Tensor

    @property
    def variance(self) -> Tensor | None:
        """None: the code is deterministic."""
        return None


class TopK(Point):
    """z has the largest positive outputs of the encoder (Makhzani and Frey, 2014; Gao et al., 2024).

    Args:
        active: k, number of values kept for each example; with `of_batch`, k times the number of examples are kept in
            the whole batch.
        of_batch: in training, keep the largest values of the whole batch, of all devices (Bussmann et al., 2024). In
            evaluation a threshold is used instead: the moving average of the smallest value that was kept.
        size: dimensions of z.
    """

    silent: Tensor
    came: Tensor
    threshold: Tensor
    batches: Tensor

    def __init__(self, active: int, of_batch: bool, size: int) -> None:
        super().__init__()
        self.active, self.of_batch = active, of_batch
        self.own_rows = True  # False: this device repeats a row of another device, see `gathered`
        self.register_buffer("silent", torch.zeros(size, dtype=torch.int64))  # examples since a dimension was active
        self.register_buffer("came", torch.zeros(size, dtype=torch.bool))
        self.register_buffer("threshold", torch.tensor(0.0))
        self.register_buffer("batches", torch.tensor(0))  # number of batches in the threshold's average

    def forward(self, code: Tensor) -> Any:
        """See `Posterior.forward`."""
        before = code.relu()
        if not self.of_batch:
            return Sparse(largest(before, self.active), before, before.new_zeros(()))
        least = self._least(before.detach()) if self.training else self.threshold.to(before.dtype)
        return Sparse(before * (before >= least.clamp(min=torch.finfo(before.dtype).tiny)), before, least)

    def _least(self, values: Tensor) -> Tensor:
        """The smallest value that is kept in the batch of all devices."""
        values = gathered(values, 1.0 if self.own_rows else 0.0)
        return values.flatten().topk(min(values.numel(), self.active * len(values))).values[-1]

    def statistics(self, q: Any) -> dict[str, Tensor]:
        """How often each dimension is active, the number of examples, and the smallest value that is kept."""
        active = q.mean.detach() > 0
        found = {ACTIVE: active.sum(0), EXAMPLES: torch.tensor(len(active), device=active.device)}
        return found | ({LEAST: q.least.float(), BATCHES: torch.ones_like(q.least.float())} if self.of_batch else {})

    def update(self, statistics: Mapping[str, Tensor]) -> None:
        """Record which dimensions were active, and update the threshold."""
        if ACTIVE in statistics:
            came = statistics[ACTIVE] > 0
            self.came |= came
            self.silent.copy_((self.silent + statistics[EXAMPLES].long()).where(~came, 0))
        if LEAST in statistics:
            self.batches += 1
            # The first batches have equal weights, so that the average does not start from 0.
            new = torch.clamp(1 / self.batches, min=NEW).to(self.threshold)
            self.threshold.lerp_((statistics[LEAST] / statistics[BATCHES]).to(self.threshold), new)

    def diagnostics(self) -> dict[str, float]:
        """`never_active`: the share of dimensions that have been zero for all examples so far."""
        return {"never_active": float((~self.came).double().mean())}


def largest(values: Tensor, count: int) -> Tensor:
    """The `count` largest values of each row of `(B, D)`; the others are set to zero."""
    kept = values.topk(min(count, values.shape[1]), dim=1)
    return torch.zeros_like(values).scatter(1, kept.indices, kept.values)


class TopKAE(AE):
    """A sparse autoencoder with at most `active` nonzero dimensions of a code (Gao et al., 2024, section 2).

    The loss is ||x - x^||^2 + `revive` times ||e - e^||^2. Here e = x - x^ is the error, and e^ is decoded from the
    `revived` largest of the dead dimensions, those that were zero for the last `dead_after` examples. Without this
    term they would stay zero (appendix A.2). With one linear layer as decoder (`decoder.hidden=[]`) its columns, the
    dictionary, are normalised to length 1 after each step, and a linear encoder is initialised as its transpose
    (appendix A.1).

        python train.py model=topk_ae latent_dim=512 encoder.hidden=[] decoder.hidden=[] data=table data.path=rows.csv

    Args:
        active: k.
        of_batch: whether k is a mean over a batch; see `TopK`.
        dead_after: number of examples.
        revived: number of dead dimensions that the term uses at a time.
        revive: weight of that term.
        **settings: see `AE`.

    Raises:
        ConfigError: the code is a grid, or has fewer dimensions than `active`; or the data are categorical.
    """

    grids = False

    def __init__(
        self,
        active: Annotated[int, Gt(0)],
        of_batch: bool,
        dead_after: Annotated[int, Gt(0)],
        revived: Annotated[int, Gt(0)],
        revive: Annotated[float, Ge(0)],
        **settings: Unpack[AESettings],
    ) -> None:
        super().__init__(**settings)
        if not self.latent.is_vector:
            raise ConfigError("latent=grid: model=topk_ae needs codes that are vectors; use latent=vector")
        if active > self.latent_dim:
            raise ConfigError(f"model.active={active}: should be at most latent_dim={self.latent_dim}")
        refuse_what_is_no_number(self.likelihood.spec, "model=topk_ae")
        self.dead_after, self.revived, self.revive = dead_after, revived, revive
        self.posterior = TopK(active, of_batch, self.latent_dim)
        self.batch_terms = frozenset({"reconstruction"} if of_batch else ())

    def terms(self, batch: Batch, scheduled: Scheduled | None = None) -> Terms:
        """See `AE.terms`."""
        assert isinstance(self.posterior, TopK)
        self.posterior.own_rows = batch.weight > 0
        return super().terms(batch, scheduled)

    def moves(self) -> dict[str, tuple[str, ...]]:
        """See `Model.moves`."""
        moved = (*self.inferring(), *self._parts("decoder")) if self.revive else ()
        return super().moves() | {"revival": tuple(dict.fromkeys(moved))}

    def penalties(self, batch: Batch, inferred: Any, draw: Draw, scheduled: Scheduled = NONE) -> dict[str, Tensor]:
        """See `Model.penalties`."""
        assert isinstance(self.posterior, TopK)
        condition, forced = self.condition_of(batch), self.teacher_forcing(batch)
        z = draw.groups[-1].z.squeeze(1)
        dead = self.posterior.silent >= self.dead_after
        revived = largest(inferred.q.before * dead, self.revived)

        def decoded(code: Tensor) -> Tensor:
            return self.likelihood.mean(self.raw(code, forced, condition))

        error = (batch.target - decoded(z)).detach()
        missed = (error - (decoded(revived) - decoded(torch.zeros_like(revived)))).flatten(1)
        term = self.revive * missed.nan_to_num().square().sum(1) * dead.any()
        return super().penalties(batch, inferred, draw, scheduled) | {"revival": term}

    def start(self, start: Start) -> None:
        """See `Model.start`."""
        super().start(start)
        self._normalise()
        dictionary, reader = _only_layer(self.decoder), _only_layer(self.encoder)
        if dictionary is None or reader is None or len(reader.weight) != self.latent_dim:
            return
        columns = dictionary.weight[:, : self.latent_dim].T
        # An encoder of tables reads a missing-value mask after the values, and a conditional one reads the label.
        if reader.weight.shape[1] >= columns.shape[1]:
            with torch.no_grad():
                reader.weight.zero_()[:, : columns.shape[1]].copy_(columns)

    def update(self, statistics: Mapping[str, Tensor]) -> None:
        """See `Model.update`."""
        super().update(statistics)
        self._normalise()

    @torch.no_grad()
    def _normalise(self) -> None:
        """Normalise the dictionary's columns to length 1."""
        dictionary = _only_layer(self.decoder)
        if dictionary is not None:
            columns = dictionary.weight[:, : self.latent_dim]
            columns.div_(columns.norm(dim=0, keepdim=True).clamp(min=1e-8))


def _only_layer(network: nn.Module) -> nn.Linear | None:
    """The linear layer of a network that has no other weights except biases; None for other networks."""
    layers = [part for part in network.modules() if isinstance(part, nn.Linear)]
    weights = [weight for weight in network.parameters() if weight.dim() > 1]
    return layers[0] if len(layers) == len(weights) == 1 else None
