"""Keys and options of lightning-hydra-template that vaelab does not have, and what to type instead."""

from collections.abc import Container

from vaelab.config.recorded import covers

_STORAGE = "there are no worker processes; storage=auto, device, memory or disk sets where examples are stored"
_FOLDERS = "folders are relative to the current folder; set paths.data_dir and paths.log_dir"
_OF_LIGHTNING = "a logger of Lightning's own needs one YAML file; see docs/tracking.md"
_KEYS = {
    "task_name": "a run goes to <paths.log_dir>/<task>/<data>-<model>; type paths.log_dir=<folder>, or tags=[<word>]",
    "hparams_search": "type sweep=<option>",
    "optimized_metric": "type sweep.metric=<a number of the validation split> beside sweep=optuna",
    "hydra.sweeper.n_trials": "type sweep.trials=<number> beside sweep=optuna",
    "hydra.sweeper.n_jobs": "type sweep.workers=<number> beside sweep=optuna",
    "hydra.sweeper.storage": "type sweep.storage=postgresql://<address> beside sweep=optuna; else it is a file",
    "hydra.sweeper.study_name": "a search is identified by its folder, and resume=<folder> resumes it",
    "hydra.sweeper.direction": "the metric sets it; or type sweep.objectives={<metric>: min} beside sweep=optuna",
    "hydra.sweeper.sampler": "type sweep.sampler=tpe or random, and sweep.startup=<number>, beside sweep=optuna",
    "hydra.sweeper.params": "type sweep.space.<key>=[<values>] beside sweep=optuna",
    "model.optimizer": "the optimizer is a config group, such as optimizer=adam optimizer.lr=1e-3",
    "model.scheduler": "the scheduler is a config group, such as scheduler=cosine",
    "model.net": "networks are config groups, such as encoder=mlp encoder.hidden=[512,512]",
    "model.lr": "type optimizer.lr=<number>",
    "model.compile": "type compile=true, false or auto",
    "data.num_workers": _STORAGE,
    "data.pin_memory": _STORAGE,
    "data.data_dir": "type paths.data_dir=<folder>",
    "data.train_val_test_split": "type data.val_fraction=<part>, and data.test_fraction=<part> of files of your own",
    "paths.root_dir": _FOLDERS,
    "paths.work_dir": _FOLDERS,
    "trainer.tpu_cores": "TPUs are not supported",
    "callbacks.model_checkpoint": "the best checkpoint is callbacks.best, the last one callbacks.last",
    "callbacks.early_stopping": "callbacks=early_stopping adds it",
    "callbacks.model_summary": "callbacks=model_summary adds it",
    "callbacks.rich_progress_bar": "callbacks=rich adds it",
}
_OPTIONS = {
    ("logger", "csv"): "metrics.csv is always written, so leave it out; logger=none writes only metrics.csv",
    ("logger", "aim"): _OF_LIGHTNING,
    ("logger", "comet"): _OF_LIGHTNING,
    ("logger", "neptune"): _OF_LIGHTNING,
    ("callbacks", "model_checkpoint"): "callbacks=default saves the best and the last checkpoint",
    ("callbacks", "rich_progress_bar"): "callbacks=rich adds it",
    ("hydra/sweeper", "optuna"): "sweep=optuna searches hyperparameters",
}


def instead_of_key(key: str, known: Container[str]) -> str | None:
    """Return what to type instead of a key that vaelab does not have; None if there is no advice.

    Args:
        key: the dotted key.
        known: the keys of the config, which may contain a key of the same name.
    """
    return next((remedy for place, remedy in _KEYS.items() if covers(place, key) and place not in known), None)


def instead_of_option(group: str, option: str) -> str | None:
    """Return what to type instead of an option that vaelab does not have; None for any other option."""
    return _OPTIONS.get((group, option))
