"""The config of a run, for a check before it starts."""

import os

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict, read_write


def as_if_running(config: DictConfig, number: int) -> DictConfig:
    """Return the config that a run will receive, without Hydra's own part.

    Args:
        config: as Hydra composed it; Hydra's own part is filled in and becomes the current one.
        number: the number of the job.
    """
    with read_write(config), open_dict(config):
        config.hydra.job.id = config.hydra.job.num = number
        config.hydra.runtime.output_dir = os.curdir  # no check depends on its value
    HydraConfig.instance().set_config(config)
    plain = config.copy()
    with read_write(plain), open_dict(plain):
        del plain["hydra"]
    return plain
