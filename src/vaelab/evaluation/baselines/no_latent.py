"""The decoder of a run without a latent: the likelihood of an autoregressive decoder alone."""

from collections.abc import Callable
from dataclasses import asdict
from math import exp, log
from typing import Any

import torch

from vaelab.core.noise import mix
from vaelab.core.spec import observed_steps
from vaelab.data.module import DataModule
from vaelab.data.text.characters import characters_of_each
from vaelab.evaluation.baselines.cache import BaselineCache
from vaelab.likelihoods import Likelihood
from vaelab.models import Model, Start
from vaelab.models.building import build_backbone
from vaelab.models.decoder_alone import DecoderAlone
from vaelab.notes import note
from vaelab.training.beside import Budget, train_beside
from vaelab.training.module import TrainingModule
from vaelab.training.optimization import Optimization

NAME = "no_latent"


def no_latent(model: Model, data: DataModule, cache: BaselineCache, say: Callable[[str], None]) -> dict[str, float]:
    """`baseline/no_latent/` nll, nll_per_step, perplexity and, for text, bits_per_character on the test split.

    It has the decoder of `model`, its optimizer, schedule, examples and number of steps, but no word dropout, whose
    purpose is to make a decoder use its latent. As for the run, the weights with the highest likelihood on the
    validation split are kept. Empty for a model without a trainer. `say` reports the step.
    """
    trainer: Any = data.trainer
    module = trainer.lightning_module if trainer is not None else None
    budget = Budget.of_run(data)
    if not isinstance(module, TrainingModule) or budget is None:
        return {}
    optimization, tested = module.optimization, _test_batches(data)
    decoder = {key: value for key, value in model.architecture["decoder"].items() if key != "word_dropout"}
    settings = asdict(budget) | {
        "decoder": decoder,
        "likelihood": model.architecture["likelihood"],
        "optimizer": optimization.optimizer,
        "scheduler": optimization.scheduler,
        "batch_size": data.batch_size,
        "seed": data.seed,
        "test_batches": tested,
    }

    def compute() -> dict[str, float]:
        note(
            f"trains the decoder without a latent too, {budget.steps} steps, as a baseline; "
            "task.no_latent_baseline=false leaves it out"
        )
        alone = _decoder_alone(model, data, optimization)
        train_beside(alone, data, optimization, budget, model.device, say)
        return _measured(alone, data, tested)

    return cache.numbers(NAME, settings, compute)


def _decoder_alone(model: Model, data: DataModule, optimization: Optimization) -> DecoderAlone:
    """The run's decoder, untrained. Its latent has one dimension, so that runs with any latent share the baseline."""
    about, builder = model.architecture, optimization.builder
    with torch.random.fork_rng():
        torch.manual_seed(mix(data.seed, NAME))
        likelihood = builder.build(about["likelihood"], "likelihood", Likelihood, spec=data.spec)
        shapes = {"latent_shape": (1,), "output_shape": likelihood.raw_shape}
        decoder = build_backbone(builder, about, "decoder", data.spec, shapes, {})
    decoder.word_dropout = 0.0
    alone = DecoderAlone(decoder, likelihood)
    alone.start(Start(len(data.split["train"]), data.mean(), data.mean().new_empty(0)))
    return alone


def _test_batches(data: DataModule) -> int | None:
    """Number of batches of the test split that the run measures; None for all."""
    trainer: Any = data.trainer
    tested, own = sum(trainer.num_test_batches), len(data.test_dataloader())  # of this device
    return int(tested) * trainer.world_size if tested < own else None


@torch.no_grad()
def _measured(model: Model, data: DataModule, batches: int | None) -> dict[str, float]:
    nats, steps, characters, examples = 0.0, 0, 0, 0
    for number, batch in enumerate(data.batches("test", model.device), start=1):
        nats += float(model.terms(batch).loss.cpu().double().sum())
        steps += int(observed_steps(batch.target).sum())
        characters += int(characters_of_each(batch.target, data.spec).sum())
        examples += len(batch.target)
        if number == batches:
            break
    found = {"nll": nats / examples, "nll_per_step": nats / steps}
    if data.spec.kind == "tokens" and len(data.spec.shape) == 1:
        found["perplexity"] = exp(nats / steps)
    return found | ({"bits_per_character": nats / characters / log(2)} if characters else {})
