"""What may change when a run is gone on with takes effect; what may not is refused by its name."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from vaelab.config.changes import refuse_changes
from vaelab.config.location import config_dir
from vaelab.config.recorded import Recorded
from vaelab.errors import ConfigError


@cache
def composed(*words: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The config, with paths and names of trackers not resolved, and the option of each group."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose("train", list(words), return_hydra_config=True)
    plain: dict[str, Any] = OmegaConf.to_container(config)  # type: ignore[assignment]
    return plain, plain.pop("hydra")["runtime"]["choices"]


def go_on(*words: str) -> None:
    before, options = composed()
    after, choices = composed(*words)
    refuse_changes(Recorded(Path("logs/run"), before, options, []), after, choices)


def test_the_best_checkpoint_is_not_chosen_by_two_objectives() -> None:
    go_on("model.beta=4")  # val/elbo does not depend on it
    with pytest.raises(ConfigError, match="best checkpoint so far"):
        go_on("model.beta=4", "task.monitor=val/loss")


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("latent_dim=4", "the run has latent_dim=16"),
        ("encoder.hidden=[4]", "the run has encoder.hidden=[512,512]"),
        ("encoder=conv", "the run has encoder=mlp"),
        ("model=ae", "the run has model=vae"),
        ("likelihood=gaussian", "the run has likelihood=discretized_logistic"),
        ("data.split_seed=4", "the run has data.split_seed=0"),
        ("data.normal=[1]", "the run has data.normal=null"),
        ("data=breast_cancer", "the run has data=digits"),
        ("data.batch_size=50", "the run has data.batch_size=64"),
        ("data.seed=50", "one seed"),
        ("seed=4", "one seed"),
        ("trainer.accumulate_grad_batches=2", "counted in batches"),
        ("trainer.limit_train_batches=1", "counted in batches"),
        ("trainer.overfit_batches=1", "counted in batches"),
        ("debug=fdr", "the run has trainer.fast_dev_run=false"),
        ("trainer.limit_val_batches=1", "best checkpoint"),
        ("corruption=gaussian", "the run has corruption=none"),
        ("task=anomaly", "train=false ckpt_path=logs/run evaluates it under another task"),
        ("optimizer=adam", "the run has optimizer=adamw"),
    ],
)
def test_another_run_is_refused(word: str, named: str) -> None:
    with pytest.raises(ConfigError) as refused:
        go_on(word)
    assert named in str(refused.value)
    assert "resume=logs/run " in str(refused.value)


def test_all_else_may_change() -> None:
    go_on()
    go_on(
        "trainer.max_epochs=7", "trainer.gradient_clip_val=1", "trainer.devices=2", "trainer.precision=32-true",
        "optimizer.lr=1", "optimizer.betas=[0.5,0.9]", "scheduler=cosine", "model=beta_vae", "model/schedule=linear",
        "callbacks=early_stopping", "logger=none", "compile=false", "storage=memory", "task.nll_samples=3", "tags=[a]",
        "paths.data_dir=/elsewhere",
    )  # fmt: skip


def test_a_key_that_is_younger_than_the_run_is_no_change() -> None:
    before, options = composed()
    younger = {**before, "data": {key: value for key, value in before["data"].items() if key != "binarize"}}
    refuse_changes(Recorded(Path("run"), younger, options, []), before, options)
