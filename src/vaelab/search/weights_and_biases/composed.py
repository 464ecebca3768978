"""Composition and checks of a command line: the keys of the sweep, the space and the objective."""

from dataclasses import dataclass, replace
from pathlib import Path

from omegaconf import DictConfig

from vaelab.config.usual import with_usual
from vaelab.errors import ConfigError
from vaelab.search.checked import Chosen, check_space, composed, objectives, searched
from vaelab.search.settings import Objective, read_node
from vaelab.search.space import Space
from vaelab.search.weights_and_biases.settings import SweepNode, read_sweep_node
from vaelab.search.words import SearchWords

LOGGER = "vaelab.record.trackers.wandb"


@dataclass(frozen=True)
class Account:
    """The place of a sweep at W&B.

    Attributes:
        project: the project of the runs.
        entity: a team or a user; None for the default of the user who is logged in.
        offline: why the trials would not send anything to W&B; empty if they do.
    """

    project: str
    entity: str | None
    offline: str

    def path(self, sweep: str) -> str:
        """The path of a sweep, as `wandb agent` expects it."""
        return "/".join(filter(None, (self.entity, self.project, sweep)))


@dataclass(frozen=True)
class Plan:
    """A sweep that the command line describes, after all checks.

    Attributes:
        node: the keys of `sweep`.
        space: the values that each key may have.
        objective: the number to optimise.
        account: its place at W&B.
        log_dir, task: the location of its folder.
        kind: `<data>-<model>`, from which its name is made.
    """

    node: SweepNode
    space: Space
    objective: Objective
    account: Account
    log_dir: Path
    task: str
    kind: str


def account(words: list[str], folders: list[Path]) -> Account:
    """The place of a sweep at W&B, from the logger of its trials.

    Raises:
        ConfigError: the trials do not log to W&B.
    """
    return _account(composed(with_usual(words), folders))


def plan(words: SearchWords, folders: list[Path], chosen: Chosen) -> Plan:
    """Check a new sweep: its keys, both ends of its ranges, and the number to optimise.

    Raises:
        UserError: one of them is not valid; the message names it.
    """
    config, hydra = chosen.config, chosen.config.hydra
    node = read_sweep_node(chosen.node)
    given, space = searched(words, node.space)
    node = replace(node, space=given)
    kept = _account(config)
    check_space(words.trials, space, folders)
    objective = _objective(words.trials, node, space, folders)
    choices = hydra.runtime.choices
    log_dir, kind = Path(str(config.paths.log_dir)), f"{choices.data}-{choices.model}"
    return Plan(node, space, objective, kept, log_dir, str(choices.task), kind)


def _objective(words: list[str], node: SweepNode, space: Space, folders: list[Path]) -> Objective:
    """The number to optimise, found by the rules of a search with optuna."""
    alike = {"trials": 1, "metric": node.metric, "objectives": {}, "sampler": "random", "pruner": "none", "startup": 0,
             "workers": 1, "seed": 0, "storage": None, "space": node.space}  # fmt: skip
    (found,) = objectives(words, read_node(alike), space, folders)
    return found


def _account(config: DictConfig) -> Account:
    loggers = config.get("logger") or {}
    for name in loggers:
        one = loggers[name]
        if isinstance(one, DictConfig) and one.get("_target_") == LOGGER:
            mode = str(one.get("mode"))
            offline = f"logger.{name}.mode={mode}" if mode in ("offline", "disabled") else ""
            return Account(str(one.project), None if one.get("entity") is None else str(one.entity), offline)
    raise ConfigError(
        "sweep=wandb: needs the metrics of its trials from logger=wandb; "
        "leave out logger=..., or use logger=[wandb,mlflow] for several"
    )
