"""Writes the run folder at the start and at the end of a run."""

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from io import BytesIO
from math import isfinite
from pathlib import Path
from time import monotonic
from typing import Any

import lightning.pytorch as L
import torch
import yaml
from hydra.conf import HydraConf
from lightning.pytorch.utilities import rank_zero_only
from matplotlib.figure import Figure
from torch import Tensor

from vaelab.atomic_write import remove_half_written, require_folder, write_file, write_json
from vaelab.config.command_line import typed_words
from vaelab.config.continuation import Continuation
from vaelab.config.location import config_dir
from vaelab.data.module import DataModule
from vaelab.data.reading import FILE as READING
from vaelab.errors import UserError
from vaelab.evaluation import fitted_priors
from vaelab.evaluation.baselines import BaselineCache
from vaelab.evaluation.code_use import code_notes
from vaelab.evaluation.perceptual import PART as PERCEPTUAL
from vaelab.faults import is_peer_lost
from vaelab.figures import loss_curves
from vaelab.latents.fitted import FittedPrior
from vaelab.models import Model
from vaelab.models.saved_model import save_model
from vaelab.notes import counted, note
from vaelab.quoting import typed_path
from vaelab.record.advice import Finished, advice
from vaelab.record.checkpoints import TRAINING, Start
from vaelab.record.console import print_config, print_metrics, print_size, sizes
from vaelab.record.curves import FILE, read_curves
from vaelab.record.environment import environment
from vaelab.record.first_weights import fingerprint
from vaelab.record.report import report, sentence
from vaelab.record.sent import saved_model, send_final, send_results
from vaelab.record.source_changes import source_changes
from vaelab.record.stages import Stages
from vaelab.record.state import FILE as STATE
from vaelab.record.state import RunState, RunStatus
from vaelab.record.sweep import sweep_of
from vaelab.record.trackers import Description, describe, trackers_among
from vaelab.record.trackers.identity import forget
from vaelab.record.trained_on import TrainedOn
from vaelab.record.training_pictures import FOLDER as PROGRESS
from vaelab.record.training_pictures import films
from vaelab.run_folder import OF_TRACKERS
from vaelab.secrets import redact, redact_override, redact_text
from vaelab.tasks import Findings, Task
from vaelab.training.budget import TrainingTime
from vaelab.training.interruption import exit_code, keeping
from vaelab.training.weight_average import PART, Averaging

log = logging.getLogger(__name__)

CHANGES = "changes.patch"
PACKAGE = Path(__file__).parents[1]
TAG = "rerun"  # tag in every tracker of a run that repeats another one
FEW = 30  # test examples; with fewer, metrics are unreliable


class RunRecord:
    """The folder of one run, written by the first device only."""

    def __init__(
        self, folder: Path, config: dict[str, Any], hydra: HydraConf, continued: Continuation | None = None
    ) -> None:
        self.folder = folder
        self._config = redact(config)
        self._options = {
            str(group): str(option)
            for group, option in hydra.runtime.choices.items()
            if option and str(group).partition("/")[0] not in ("hydra", "launcher", "local")
        }
        self._choices = {group: option for group, option in self._options.items() if "@" not in group}
        words = [word for word in typed_words(hydra) if word != "launcher=local"]  # the only launcher of a single run
        self._repeats = continued.run.folder if continued is not None and continued.kind == "rerun" else None
        self._overrides = [redact_override(word) for word in (continued.typed(words) if continued else words)]
        self._environment: dict[str, Any] = {}
        self._pictures: dict[str, bytes] = {}
        self._began, self._data = monotonic(), str(self._choices.get("data"))
        self._averaging: Averaging | None = None
        self._unused: list[str] = []  # why the code counts as unused (posterior collapse)
        self._stages = Stages(config["trainer"].get("enable_progress_bar", True))

    @rank_zero_only
    def show(self) -> None:
        """Print the config."""
        print_config(self._config, self._choices)

    @rank_zero_only
    def take_over(self) -> None:
        """Before trackers open: forget the tracker runs of an earlier run in this folder, unless it is resumed.

        Incomplete files of a killed process are removed.
        """
        if not self._config["resume"]:
            forget(self.folder)
        else:
            remove_half_written(self.folder, besides=OF_TRACKERS)

    @rank_zero_only
    def begin(
        self,
        seed: int,
        data: DataModule,
        trainer: L.Trainer,
        trained_on: TrainedOn,
        weights: Mapping[str, Tensor],
        steps: int | None = None,
        averaging: Averaging | None = None,
        perceptual: Mapping[str, Any] | None = None,
    ) -> None:
        """Write what is known before the run, including the preprocessing of data, so that a killed run is usable too.

        Args:
            seed: the seed of the run.
            data: the loaded data.
            trainer: the trainer of the run.
            trained_on: the data that the model is, or was, trained on.
            weights: the initial weights.
            steps: the training steps of the model, if the run only evaluates it.
            averaging: how the weights of the model are averaged; None if they are not.
            perceptual: the network of a perceptual term; None if there is none.
        """
        now = environment(seed, trainer.strategy.root_device, str(trainer.precision), trainer.world_size)
        self._environment = now | {"first_weights": fingerprint(weights)} | self._repeated() | self._history()
        if perceptual is not None:
            self._environment[PERCEPTUAL] = dict(perceptual)
        if data.spec.name != self._data:
            self._data = f"{redact_text(data.spec.name)} ({self._data})"
        if found := sweep_of(self.folder):
            sweep, job = found
            self._environment["sweep"] = {"job": job.number, "command": sweep.command}
        write_file(self.folder / "config.yaml", yaml.safe_dump(self._config, sort_keys=False))
        write_file(self.folder / "overrides.yaml", yaml.safe_dump(self._overrides))
        write_file(self.folder / "choices.yaml", yaml.safe_dump(self._options))
        write_json(self.folder / "environment.json", self._environment)
        if changes := source_changes(Path.cwd(), PACKAGE, config_dir()):
            write_file(self.folder / CHANGES, changes)
        else:
            (self.folder / CHANGES).unlink(missing_ok=True)
        if not self._config["resume"]:  # there was another run in this folder
            shutil.rmtree(self.folder / PROGRESS, ignore_errors=True)
        for name, content in data.files().items():
            write_file(self.folder / name, content)
        write_json(self.folder / "model" / READING, data.reading())
        self.trained(trained_on, steps, averaging)

    @contextmanager
    def kept_state(self) -> Iterator[Callable[[], None]]:
        """Yield a function that writes to `state.json` that this process runs the run; write the status at the end.

        If the run ends before the function was called, it has not begun, and nothing is written. The same holds if not
        even the config could be written, for example on a full disk.
        """
        if getattr(rank_zero_only, "rank", 0) != 0:
            yield lambda: None
            return
        state: RunState | None = None

        def running() -> None:
            nonlocal state
            state = RunState.of_this_process()
            state.write(self.folder)

        def end(status: RunStatus, why: str = "") -> None:
            if state is not None and (self.folder / "config.yaml").is_file():
                state.end(self.folder, status, why)
            elif state is not None:
                (self.folder / STATE).unlink(missing_ok=True)

        try:
            yield running
        except (KeyboardInterrupt, SystemExit) as stop:
            code = exit_code(stop)
            status, why = (RunStatus.FAILED, f"ended with exit code {getattr(stop, 'code', 1)}")
            if code is not None:
                status, why = RunStatus.INTERRUPTED, f"told to stop, exit code {code}"
            end(status, why)
            raise
        except Exception as error:
            told = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            if is_peer_lost(error):
                told = "another process of this run has ended"
            end(RunStatus.FAILED, told)
            raise
        end(RunStatus.FINISHED)

    @rank_zero_only
    def trained(
        self,
        trained_on: TrainedOn,
        steps: int | None,
        averaging: Averaging | None = None,
        watched: tuple[str, str] | None = None,
    ) -> None:
        """Write the data and the number of steps of training, and how the weights were averaged.

        Args:
            trained_on: the data.
            steps: optimizer steps; None while training is not complete.
            averaging: None for weights of a single step.
            watched: the metric that selected the best checkpoint, and its direction; None if none was selected.
        """
        self._averaging = averaging
        about = {"data": trained_on.to_json()} | ({} if steps is None else {"steps": steps})
        about |= {} if averaging is None else {PART: asdict(averaging)}
        about |= {} if watched is None else {"watched": dict(zip(("name", "better"), watched, strict=True))}
        write_json(self.folder / "model" / TRAINING, about)

    @rank_zero_only
    def trained_so(self, first_loss: Tensor | None, compiled_from: int | None) -> None:
        """Write what can distinguish two runs of the same config.

        Args:
            first_loss: the loss of the first step of this part of the run; None if no step was taken.
            compiled_from: the step from which the objective was compiled; `compile=auto` decides it by speed.
        """
        loss = None if first_loss is None or not isfinite(value := float(first_loss)) else value
        self._environment |= {"first_loss": loss, "compiled_from": compiled_from}
        write_json(self.folder / "environment.json", self._environment)

    def _repeated(self) -> dict[str, Any]:
        """Return the run that this run repeats."""
        return {} if self._repeats is None else {"repeats": redact_text(str(self._repeats))}

    def _history(self) -> dict[str, Any]:
        """Return the earlier parts of a resumed run, the oldest first."""
        path = self.folder / "environment.json"
        if not self._config["resume"] or not path.is_file():
            return {}
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
            repeats = {"repeats": text} if isinstance(text := before.get("repeats"), str) else {}
            return repeats | {"history": [*before.pop("history", []), before]}
        except (ValueError, AttributeError, TypeError):  # the file was truncated or edited
            return {}

    @property
    def description(self) -> Description:
        """Return the description of the run for every tracker."""
        described = describe(self.folder, self._choices, self._config.get("tags"), self._config.get("notes"))
        return described if self._repeats is None else replace(described, marks=(TAG,))

    @rank_zero_only
    def log_config(self, trainer: L.Trainer, model: Model) -> None:
        """Print the size of the model, and send the config to trackers; a resumed run may have changed it."""
        print_size(model)
        choices = {group.replace("/", "_"): option for group, option in self._choices.items()}
        for logger in trainer.loggers:
            logger.log_hyperparams(self._config | {"choices": choices, "size": sizes(model)} | self._repeated())
        for tracker in trackers_among(trainer.loggers):
            if (changes := self.folder / CHANGES).is_file():
                tracker.log_files({CHANGES: changes})

    def fitted(
        self, prior: FittedPrior, trainer: L.Trainer, model: Model, data: DataModule, start: Start | None, seed: int
    ) -> FittedPrior:
        """Fit a prior to the codes of the trained model on the first device; the others read the saved result.

        A run that is evaluated uses its saved prior, if a fitted prior is requested.

        Args:
            prior: the prior, not yet fitted.
            trainer: the trainer of the run.
            model: the model with its best weights.
            data: the data of the run.
            start: the start of a run that only evaluates; None for one that trained.
            seed: the seed of the run.

        Raises:
            ConfigError: the prior does not support such codes, or the data are other data and no prior was saved.
        """
        device = trainer.strategy.root_device
        model.to(device).float().eval()
        saved = fitted_priors.saved_for(prior, model, start.model_folder) if start is not None else None
        if saved is None and data.all_as_test:
            fitted_priors.refuse_new_fit(prior)
        if trainer.is_global_zero:
            fitted_priors.remove(
                self.folder / "model"
            )  # a prior that an earlier part of the run fitted to other weights
            save_model(model, self.folder / "model")  # so that the model is usable even if the fit fails
            with self._stages.show("fitting the prior" if saved is None else "using the fitted prior") as stage:
                if saved is None:
                    checkpoints = self.folder / "checkpoints" / "fitted_prior"
                    saved = fitted_priors.fitted_to(prior, model, data, checkpoints, seed=seed, say=stage.say)
                for name, content in fitted_priors.files(saved).items():
                    self._write(name, content)
        trainer.strategy.barrier("fitted prior")
        if saved is None:
            saved = fitted_priors.read_fitted_prior(self.folder / "model", model, type(prior))
            assert saved is not None
        return saved

    @rank_zero_only
    def finish(self, trainer: L.Trainer, model: Model, data: DataModule, task: Task, numbers: dict[str, float]) -> None:
        """Write the model, then the run's own results, then measure baselines and add their results.

        Each step keeps what earlier steps have written, even if it fails. A baseline that fails is reported and
        left out.
        """
        model.eval()
        require_folder(self.folder)
        save_model(model, self.folder / "model")
        found = Findings(dict(numbers))
        self._write_numbers(found)
        with keeping(self.interrupted):
            whole = not trainer.fast_dev_run  # type: ignore[attr-defined]
            own = self._findings(model.to(trainer.strategy.root_device).float(), data, task, whole)
            if curves := loss_curves(read_curves(self.folder / FILE)):
                own.figures["curves"] = curves
            own.notes += advice(self._finished(numbers | own.numbers, own.metadata, trainer, model))
            found.add(own)
            self._publish(found, own, trainer)
        try:
            if found.baselines:
                with keeping(f"the run's own results are in {self.folder}; task.baselines=false leaves baselines out"):
                    added = self._compare(found)
                    known = self._finished(found.numbers, found.metadata, trainer, model)
                    found.notes += [line for line in advice(known) if line not in found.notes]
                    self._publish(found, added, trainer)
        finally:
            self._hand_over(trainer, model, data, found)
            kept = self.folder / "checkpoints"
            without_best = kept.is_dir() and not (kept / "best.ckpt").exists()
            title = "last weights" if without_best else "best checkpoint"
            print_metrics(found.numbers, str(self.folder), found.notes, title)

    def _finished(
        self, numbers: dict[str, float], metadata: dict[str, Any], trainer: L.Trainer, model: Model
    ) -> Finished:
        times = [callback for callback in trainer.callbacks if isinstance(callback, TrainingTime)]  # type: ignore[attr-defined]
        time = times[0] if times and self._config["train"] else None
        return Finished(numbers, metadata, time, model, str(self._choices.get("task")))

    def _findings(self, model: Model, data: DataModule, task: Task, whole: bool) -> Findings:
        """Return the run's own results, in float32; without a test, only whether the code is used."""
        tested = self._config["test"]
        cache = BaselineCache(Path(self._config["paths"]["data_dir"]) / ".vaelab" / "baselines", data)
        with torch.no_grad(), self._stages.show("computing metrics and figures"):
            found = task.findings(model, data, cache) if tested else Findings()
            if whole and tested:
                found.notes += _few_examples(found, data)
            if whole:
                self._unused = code_notes(model, data, "test" if tested else "val")
                found.notes += self._unused
        return found if task.baselines else replace(found, baselines=[], beside=[])

    @torch.no_grad()
    def _compare(self, found: Findings) -> Findings:
        """Measure every baseline of `found`, and save each result immediately; return all that was added."""
        added = Findings()
        with self._stages.show("baseline", len(found.baselines)) as stage:
            for baseline in found.baselines:
                stage.begin(baseline.name)
                with self._left_out_if_it_fails(f"baseline/{baseline.name}", added):
                    added.add(baseline.measure(stage.say))
                found.add(added)
                self._write_numbers(found)
            stage.done()
        for draw in found.beside:
            with self._left_out_if_it_fails("figures of baselines", added):
                added.figures |= draw()
        found.add(added)
        return added

    @contextmanager
    def _left_out_if_it_fails(self, what: str, found: Findings) -> Iterator[None]:
        """If `what` fails, report it in one line and in the metadata, and continue the run without it."""
        try:
            yield
        except Exception as error:  # an error of a library on unusual data
            text = " ".join(f"{type(error).__name__}: {error}".split())
            found.metadata[what] = {"not measured": text}
            log.debug(f"{what} failed", exc_info=True)
            note(f"{what} failed and is left out: {text}")

    def _publish(self, found: Findings, new: Findings, trainer: L.Trainer) -> None:
        """Write all findings; of these, `new` has not been written or sent to trackers before."""
        self._write_numbers(found)
        numbers = {name: value for name, value in new.numbers.items() if name in found.numbers}
        for logger in trainer.loggers:
            logger.log_metrics(numbers, trainer.global_step)
        texts = {f"texts/{name}.txt": text + "\n" for name, text in new.texts.items()}
        for name, content in (new.files | texts).items():
            self._write(name, content)
        self._pictures |= {name: self._save(name, figure) for name, figure in new.figures.items()}
        title = " ".join(f"{group}={self._choices[group]}" for group in ("task", "data", "model"))
        about = sentence(
            str(self._choices["task"]), self._data, str(self._choices["model"]),
            self._environment.get("started"), monotonic() - self._began, self._weights,
        )  # fmt: skip
        page = report(
            title, self._environment, found.numbers, self._pictures, redact(found.metadata), found.texts, found.notes,
            about=about, films=films(self.folder),
        )  # fmt: skip
        self._write("report.html", page)
        send_results(trackers_among(trainer.loggers), self.folder, new, trainer.global_step)

    def _hand_over(self, trainer: L.Trainer, model: Model, data: DataModule, found: Findings) -> None:
        """Send final results to trackers, and print what the user must know."""
        trackers, step = trackers_among(trainer.loggers), trainer.global_step
        for tracker in trackers:
            for text in self._unused:
                tracker.log_alert("posterior collapse", text)
        send_final(trackers, self.folder, list(self._pictures), found.numbers, step)
        if trackers and self._config["train"]:
            name = "-".join(self._choices[group] for group in ("task", "data", "model"))
            about = {"numbers": found.numbers, "steps": step, "command": self._environment.get("command")}
            about |= {} if self._weights is None else {"weights": self._weights}
            saved = saved_model(self.folder, name, redact(about), model, data, self._config["data"].get("path"))
            for tracker in trackers:
                tracker.log_saved_model(saved)

    def _write_numbers(self, found: Findings) -> None:
        """Write `metrics.json` and the metadata; values that are not finite count as not measured."""
        for name in [name for name, value in found.numbers.items() if not isfinite(value)]:
            del found.numbers[name]
            found.metadata[name] = {"not measured": "the result is not a finite number"}
        require_folder(self.folder)
        write_json(self.folder / "metrics.json", dict(sorted(found.numbers.items())))
        if found.metadata:
            write_json(self.folder / "metrics_metadata.json", redact(found.metadata))

    def _save(self, name: str, figure: Figure) -> bytes:
        buffer = BytesIO()
        figure.savefig(buffer, format="png")
        self._write(f"figures/{name}.png", buffer.getvalue())
        return buffer.getvalue()

    def _write(self, name: str, content: str | bytes) -> None:
        require_folder(self.folder)
        write_file(self.folder / name, content)

    @property
    def _weights(self) -> str | None:
        """Return the kind of weights behind the metrics; None for ordinary weights."""
        return None if self._averaging is None else f"averaged weights, {self._averaging}"

    @property
    def interrupted(self) -> str:
        """Return what exists, and what to type, after the evaluation of a trained model was interrupted."""
        if not self._config["train"]:
            return "the same command evaluates again"
        if not any((self.folder / "checkpoints").glob("*.ckpt")):
            return "training has ended, but no checkpoint was saved"
        how = f"train=false {typed_path('ckpt_path', self.folder)}"
        return f"training has ended, and its best weights are saved; {how} evaluates them"


def _few_examples(found: Findings, data: DataModule) -> list[str]:
    """Return one line if there are too few test examples for reliable metrics; scored files may have few rows."""
    count = len(data.split["test"])
    if count >= FEW or (data.all_as_test and "test/fid" not in found.numbers):
        return []
    return [
        f"{counted(count, 'test example')}: with so few, metrics depend on chance, above all fid and the like; use "
        "more data, or a larger data.test_fraction"
    ]
