"""Experiment trackers. A new one is a subclass of `Tracker` in a file of its own, and one YAML under `conf/logger`."""

from vaelab.record.trackers.description import Description, describe
from vaelab.record.trackers.mlflow_server import mlflow
from vaelab.record.trackers.session import trackers_among, tracking
from vaelab.record.trackers.tensorboard_files import tensorboard
from vaelab.record.trackers.tracker import Tracker
from vaelab.record.trackers.weights_and_biases import wandb

__all__ = ["Description", "Tracker", "describe", "mlflow", "tensorboard", "trackers_among", "tracking", "wandb"]
