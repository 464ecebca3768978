"""Fills the run folder at the start and at the end of a run."""

from io import BytesIO
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
import yaml
from hydra.conf import HydraConf
from lightning.pytorch.utilities import rank_zero_only
from matplotlib.figure import Figure

from vaelab.atomic_write import write_file, write_json
from vaelab.baselines import BaselineCache
from vaelab.config.secrets import redact, redact_text
from vaelab.data.module import DataModule
from vaelab.figures import loss_curves
from vaelab.models import Model
from vaelab.record.console import print_config, print_metrics, print_size
from vaelab.record.curves import FILE, read_curves
from vaelab.record.environment import environment
from vaelab.record.export import save_model
from vaelab.record.report import report
from vaelab.record.trackers import log_figures
from vaelab.tasks import Findings, Task
from vaelab.tasks.code_use import code_notes


class RunRecord:
    """The folder of one run, written by the first device only."""

    def __init__(self, folder: Path, config: dict[str, Any], hydra: HydraConf) -> None:
        self.folder = folder
        self._config = redact(config)
        self._choices = {
            str(group): str(option)
            for group, option in hydra.runtime.choices.items()
            if option and not str(group).startswith("hydra/") and "@" not in str(group)  # parts of an option
        }
        self._overrides = [redact_text(o) for o in hydra.overrides.task]
        self._environment: dict[str, Any] = {}

    @rank_zero_only
    def show(self) -> None:
        """Print the config."""
        print_config(self._config, self._choices)

    @rank_zero_only
    def begin(self, seed: int, data: DataModule, trainer: L.Trainer) -> None:
        """Write what is known before the run, how examples are prepared included: a killed run can be used too."""
        self._environment = environment(seed, trainer.strategy.root_device, str(trainer.precision))
        write_file(self.folder / "config.yaml", yaml.safe_dump(self._config, sort_keys=False))
        write_file(self.folder / "overrides.yaml", yaml.safe_dump(self._overrides))
        write_json(self.folder / "environment.json", self._environment)
        for name, content in data.files().items():
            write_file(self.folder / name, content)

    @rank_zero_only
    def log_config(self, trainer: L.Trainer, model: Model) -> None:
        """Say how large the model is, and give the trackers the config; a resumed tracker run has it."""
        print_size(model)
        if self._config["resume"]:
            return
        choices = {group.replace("/", "_"): option for group, option in self._choices.items()}
        for logger in trainer.loggers:
            logger.log_hyperparams(self._config | {"choices": choices})

    @rank_zero_only
    def finish(self, trainer: L.Trainer, model: Model, data: DataModule, task: Task, numbers: dict[str, float]) -> None:
        """Write numbers, figures, report and the model for use."""
        model.eval()
        save_model(model, self.folder / "model")
        found = self._findings(model.to(trainer.strategy.root_device).float(), data, task)
        for logger in trainer.loggers:
            logger.log_metrics(found.numbers, trainer.global_step)
        metrics = dict(sorted((numbers | found.numbers).items()))
        write_json(self.folder / "metrics.json", metrics)
        if found.metadata:
            write_json(self.folder / "metrics_metadata.json", found.metadata)
        texts = {f"texts/{name}.txt": text + "\n" for name, text in found.texts.items()}
        for name, content in (found.files | texts).items():
            write_file(self.folder / name, content)
        figures = found.figures
        if curves := loss_curves(read_curves(self.folder / FILE)):
            figures["curves"] = curves
        pictures = {name: self._save(name, figure) for name, figure in figures.items()}
        title = " ".join(f"{group}={self._choices[group]}" for group in ("task", "data", "model"))
        page = report(title, self._environment, metrics, pictures, found.metadata, found.texts, found.notes)
        write_file(self.folder / "report.html", page)
        log_figures(trainer.loggers, figures, trainer.global_step)
        print_metrics(metrics, str(self.folder), found.notes)

    def _findings(self, model: Model, data: DataModule, task: Task) -> Findings:
        """Measured once, in single precision; where the config asks for no test, only whether the code is used."""
        tested = self._config["test"]
        cache = BaselineCache(Path(self._config["paths"]["data_dir"]) / ".vaelab" / "baselines", data)
        with torch.no_grad():
            found = task.findings(model, data, cache) if tested else Findings()
            if not model.trainer.fast_dev_run:  # type: ignore[attr-defined]
                found.notes += code_notes(model, data, "test" if tested else "val")
        return found

    def _save(self, name: str, figure: Figure) -> bytes:
        buffer = BytesIO()
        figure.savefig(buffer, format="png")
        path = self.folder / "figures" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(buffer.getvalue())
        return buffer.getvalue()
