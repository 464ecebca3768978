"""The decoder of a run without a latent: what an autoregressive decoder reaches by itself."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count
from math import ceil, exp, inf, isfinite, log
from typing import Any

import torch
from torch import Tensor, nn

from vaelab.baselines.cache import BaselineCache
from vaelab.data.batch import Batch, RawBatch
from vaelab.data.module import DataModule
from vaelab.data.noise import mix
from vaelab.data.spec import observed_steps
from vaelab.data.text.characters import characters_of_each
from vaelab.likelihoods import Likelihood
from vaelab.models import Model
from vaelab.models.model import at_least_single
from vaelab.notes import note
from vaelab.record.export import build_backbone
from vaelab.training.optimization import Optimization

NAME = "no_latent"


@dataclass(frozen=True)
class Budget:
    """How a run was trained, so that the baseline is trained as it was.

    Attributes:
        steps: of the optimizer that the run took; of one that is evaluated only, those it would take.
        total: steps that a learning-rate schedule spans.
        batches: of an epoch.
        accumulate: batches in one step.
        validate: epochs between two looks at the validation split.
        clip, clip_by: `trainer.gradient_clip_val` and its algorithm.
        test_batches: of the test split that were measured; None for all.
    """

    steps: int
    total: int
    batches: int
    accumulate: int
    validate: int
    clip: float
    clip_by: str
    test_batches: int | None

    @classmethod
    def from_run(cls, model: Model, data: DataModule) -> "Budget | None":
        """What the model's trainer did; None without one, or if it says neither epochs nor steps."""
        trainer: Any = model._trainer
        if trainer is None:
            return None
        batches = _limited(trainer.limit_train_batches, len(data.whole_train_loader(lambda: 0)))
        in_epoch = ceil(batches / trainer.accumulate_grad_batches)
        planned = in_epoch * trainer.max_epochs if (trainer.max_epochs or -1) >= 0 else inf
        planned = min(planned, trainer.max_steps) if trainer.max_steps >= 0 else planned
        steps = trainer.global_step or planned
        if not isfinite(steps):
            return None
        tested, own = sum(trainer.num_test_batches), len(data.test_dataloader())  # of this device
        return cls(
            steps=int(steps),
            total=int(planned if isfinite(planned) else steps),
            batches=batches,
            accumulate=trainer.accumulate_grad_batches,
            validate=trainer.check_val_every_n_epoch or 1,
            clip=float(trainer.gradient_clip_val or 0),
            clip_by=str(trainer.gradient_clip_algorithm or "norm"),
            test_batches=int(tested) * trainer.world_size if tested < own else None,
        )


class Decoder(nn.Module):
    """p(x | z = 0): the run's decoder, untrained, without word dropout, which is there to make a decoder ask its code.

    Its latent has one dimension, always 0, so that runs with any latent share it.
    """

    def __init__(self, model: Model, data: DataModule, optimization: Optimization) -> None:
        super().__init__()
        builder, about = optimization.builder, model.architecture
        self.likelihood = builder.build(about["likelihood"], "likelihood", Likelihood, spec=data.spec)
        sizes = {"latent_dim": 1, "output_shape": self.likelihood.raw_shape}
        self.decoder = build_backbone(builder, about["decoder"], "decoder", data.spec, **sizes)
        self.offset: Tensor
        self.register_buffer("offset", self.likelihood.raw_at(data.mean()))

    def forward(self, target: Tensor) -> Tensor:
        """-log p(target | z = 0) in nats, `(B,)`."""
        raw = at_least_single(self.decoder(torch.zeros(len(target), 1, device=target.device), target))
        return -self.likelihood.log_prob(raw + self.offset, target)


def no_latent(model: Model, data: DataModule, cache: BaselineCache, say: Callable[[str], None]) -> dict[str, float]:
    """`baseline/no_latent/` nll, nll_per_step, perplexity and, of text, bits_per_character on the test split.

    It has the decoder of `model`, its optimizer, schedule, examples and as many steps; the weights that are
    likeliest on the validation split are kept, as the run's are. Empty for a model that no trainer has had.
    `say` is told the step.
    """
    optimization, budget = model.optimization, Budget.from_run(model, data)
    if optimization is None or budget is None:
        return {}
    decoder = {key: value for key, value in model.architecture["decoder"].items() if key != "word_dropout"}
    settings = asdict(budget) | {
        "decoder": decoder,
        "likelihood": model.architecture["likelihood"],
        "optimizer": optimization.optimizer,
        "scheduler": optimization.scheduler,
        "batch_size": data.batch_size,
        "seed": data.seed,
    }

    def compute() -> dict[str, float]:
        note(
            f"trains the decoder without a latent too, {budget.steps} steps, to compare with; "
            "task.no_latent_baseline=false leaves it out"
        )
        with torch.random.fork_rng(), torch.enable_grad():
            torch.manual_seed(mix(data.seed, NAME))
            decoder = Decoder(model, data, optimization).to(model.device)
            _fit(decoder, data, optimization, budget, model.device, say)
        return _measured(decoder.eval(), data, model.device, budget.test_batches)

    return cache.numbers(NAME, settings, compute)


def _fit(
    decoder: Decoder,
    data: DataModule,
    optimization: Optimization,
    budget: Budget,
    device: torch.device,
    say: Callable[[str], None],
) -> None:
    """Train, and keep what is likeliest on the validation split."""
    configured: Any = optimization.configure(decoder, budget.total)
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    best, kept, step = inf, {}, 0
    for epoch in count():
        loader = data.whole_train_loader(partial(int, epoch))
        decoder.train()
        for number, raw in enumerate(loader, start=1):
            batch = _prepared(data, raw, device)
            (decoder(batch.target).mean() / budget.accumulate).backward()
            if number % budget.accumulate == 0 or number == budget.batches:
                _clip(decoder, budget)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
                step += 1
                say(f"step {step} of {budget.steps}")
            if number == budget.batches or step == budget.steps:
                break
        if (epoch + 1) % budget.validate == 0 or step >= budget.steps:
            nll = _mean(decoder.eval(), data, device)
            if nll < best:
                best, kept = nll, {name: value.clone() for name, value in decoder.state_dict().items()}
        if step >= budget.steps:
            break
    decoder.load_state_dict(kept or decoder.state_dict())


def _prepared(data: DataModule, raw: RawBatch, device: torch.device) -> Batch:
    return data.on_after_batch_transfer(data.transfer_batch_to_device(raw, device, 0), 0)


def _clip(decoder: nn.Module, budget: Budget) -> None:
    if budget.clip and budget.clip_by == "norm":
        nn.utils.clip_grad_norm_(decoder.parameters(), budget.clip)
    elif budget.clip:
        nn.utils.clip_grad_value_(decoder.parameters(), budget.clip)


@torch.no_grad()
def _mean(decoder: Decoder, data: DataModule, device: torch.device) -> float:
    """Of the validation split, nats for each example."""
    return float(torch.cat([decoder(batch.target).cpu() for batch in data.batches("val", device)]).double().mean())


@torch.no_grad()
def _measured(decoder: Decoder, data: DataModule, device: torch.device, batches: int | None) -> dict[str, float]:
    nats, steps, characters, examples = 0.0, 0, 0, 0
    for number, batch in enumerate(data.batches("test", device), start=1):
        nats += float(decoder(batch.target).cpu().double().sum())
        steps += int(observed_steps(batch.target).sum())
        characters += int(characters_of_each(batch.target, data.spec).sum())
        examples += len(batch.target)
        if number == batches:
            break
    found = {"nll": nats / examples, "nll_per_step": nats / steps}
    if data.spec.kind == "tokens" and len(data.spec.shape) == 1:
        found["perplexity"] = exp(nats / steps)
    return found | ({"bits_per_character": nats / characters / log(2)} if characters else {})


def _limited(limit: float | None, batches: int) -> int:
    """Lightning's `limit_train_batches`: a number of batches, or a part of them."""
    if limit is None:
        return batches
    return min(limit, batches) if isinstance(limit, int) else max(1, int(limit * batches))
