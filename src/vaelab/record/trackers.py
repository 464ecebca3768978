"""Loggers of the experiment trackers. A resumed run goes on with the tracker run that it had."""

import json
import netrc
import os
import secrets
import sys
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from matplotlib.figure import Figure

from vaelab.atomic_write import write_json
from vaelab.config.secrets import redact_text
from vaelab.config.targets import target
from vaelab.errors import ConfigError

Mode = Literal["auto", "online", "offline", "disabled"]


@target
def wandb(
    output_dir: str,
    project: str,
    name: str,
    entity: str | None = None,
    group: str | None = None,
    tags: list[str] | None = None,
    notes: str | None = None,
    mode: Mode = "auto",
) -> WandbLogger:
    """Weights & Biases, its files under `<output_dir>/wandb`.

    Mode `auto` is online where somebody is logged in (WANDB_API_KEY, or a netrc entry) and offline
    elsewhere; the variable WANDB_MODE decides over it. It never asks for anything.
    """
    import wandb as wb

    wanted: Any = mode if mode != "auto" else os.environ.get("WANDB_MODE") or _reachable_mode()
    if not _first():  # other devices log nothing, and must not begin a run of their own
        return WandbLogger(save_dir=output_dir, project=project, name=name)
    typed = sys.argv
    sys.argv = [redact_text(argument) for argument in typed]  # W&B records the command line
    try:
        run = wb.init(
            dir=output_dir,
            project=project,
            name=name,
            id=_remember(Path(output_dir), "wandb", secrets.token_hex(4)),
            entity=entity,
            group=group,
            tags=tags,
            notes=notes and redact_text(notes),
            mode=wanted,
            resume="allow" if wanted == "online" else None,  # an offline run keeps its id, and is joined on syncing
            settings=wb.Settings(silent=True, init_timeout=60, console="off"),
        )
    except wb.Error as error:
        raise ConfigError(f"W&B could not start ({error}); logger.wandb.mode=offline needs no server") from error
    finally:
        sys.argv = typed
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return WandbLogger(save_dir=output_dir, project=project, name=name, experiment=run)


def _first() -> bool:
    """Whether this process is the first of its run; before a trainer exists, too."""
    return getattr(rank_zero_only, "rank", 0) == 0


def _reachable_mode() -> Literal["online", "offline"]:
    """Online where a key is known; asking for one would hang a run that nobody watches."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return "online"
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        known = netrc.netrc(os.environ.get("NETRC")).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        known = None
    return "online" if known else "offline"


@target
def tensorboard(output_dir: str) -> TensorBoardLogger:
    """TensorBoard, its files under `<output_dir>/tensorboard`."""
    try:
        return TensorBoardLogger(save_dir=output_dir, name="tensorboard", version="", default_hp_metric=False)
    except ModuleNotFoundError as error:
        raise ConfigError("needs TensorBoard: pip install tensorboard") from error


@target
def mlflow(
    output_dir: str,
    experiment: str,
    name: str,
    tracking_uri: str | None = None,
) -> MLFlowLogger:
    """MLflow, at `tracking_uri` (a server, or file:<folder>), or where the variable MLFLOW_TRACKING_URI says."""
    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
    if uri is None:
        raise ConfigError("logger.mlflow.tracking_uri: needs a server, such as http://localhost:5000, or file:<folder>")
    known = _recall(Path(output_dir), "mlflow")
    try:
        logger = MLFlowLogger(experiment_name=experiment, run_name=name, tracking_uri=uri, run_id=known)
    except ModuleNotFoundError as error:
        raise ConfigError("needs MLflow: pip install 'vaelab[mlflow]'") from error
    if known is None and (run_id := logger.run_id):
        _remember(Path(output_dir), "mlflow", run_id)
    return logger


def _recall(folder: Path, tracker: str) -> str | None:
    path = folder / "tracking.json"
    return json.loads(path.read_text(encoding="utf-8")).get(tracker) if path.is_file() else None


def _remember(folder: Path, tracker: str, run_id: str) -> str:
    """The id of this run's tracker run: the one it had, else `run_id`, which is kept from now on."""
    known = _recall(folder, tracker)
    if known is None and _first():
        path = folder / "tracking.json"
        ids = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        write_json(path, ids | {tracker: run_id})
    return known or run_id


def log_figures(loggers: list[Logger], figures: dict[str, Figure], step: int) -> None:
    """Send figures to every tracker that shows pictures."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            import wandb as wb

            logger.experiment.log({f"figures/{name}": wb.Image(figure) for name, figure in figures.items()})
        for name, figure in figures.items():
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_figure(f"figures/{name}", figure, step, close=False)
            elif isinstance(logger, MLFlowLogger) and logger.run_id:
                logger.experiment.log_figure(logger.run_id, figure, f"figures/{name}.png")


def close(loggers: list[Logger], failed: bool = False) -> None:
    """Let every tracker finish: in a sweep the next job of this process begins a run of its own."""
    for logger in loggers:
        logger.finalize("failed" if failed else "success")
        if isinstance(logger, WandbLogger) and _first():
            logger.experiment.finish(exit_code=1 if failed else 0)
