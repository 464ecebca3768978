"""Weights & Biases, its files under `<run folder>/wandb`."""

import netrc
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from annotated_types import Ge
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import DummyLogger, rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only
from pydantic import ValidationError

from vaelab.config.targets import target
from vaelab.errors import ConfigError, printable
from vaelab.metrics import direction
from vaelab.quoting import quoted
from vaelab.record.git import answer
from vaelab.record.trackers.contents import Histogram, Row, SavedModel
from vaelab.record.trackers.identity import given, recall, remember
from vaelab.record.trackers.reachability import answers
from vaelab.record.trackers.session import EXIT, START
from vaelab.record.trackers.table_rows import first_rows
from vaelab.record.trackers.tracker import Status, Tracker
from vaelab.secrets import redact, redact_override, redact_text

Mode = Literal["auto", "online", "offline", "disabled"]

PROBE, INIT = 3.0, 8.0  # seconds for a first answer, and for W&B to begin a run
STEP = "trainer/global_step"  # the axis, as Lightning names it
AXES = (STEP, "epoch", "trainer/examples")
SHOWN_ROWS = 1_000  # of a table
TESTED = "0.31.0"  # the version of W&B whose inner parts are used
LONGEST_TAG = 64  # letters, as W&B allows
STAGING = "WANDB_DATA_DIR"
EXIT_CODES: dict[Status, int] = {"finished": 0, "failed": 1, "killed": 143}
# Texts of people and machines that W&B records; environment variables set them too.
RECORDED = ("project", "entity", "run_name", "run_group", "run_job_type", "run_notes", "run_tags", "host", "username",
            "email", "docker", "program", "notebook_name", "job_name", "x_label")  # fmt: skip


_staging: str | None = None  # what this module has set the variable to, for the run before in a sweep


class WandbTracker(Tracker, WandbLogger):
    """A run of W&B: online where its server answers, else offline in the same folder, to be sent later.

    Args:
        output_dir: the run folder.
        mode: `online`, `offline`, `disabled` or `shared`.
        base_url: of W&B's server.
        patience: seconds that the server may add to the run in all.
        described: W&B's settings of what the run is; what is not among them follows from the run.
        console: whether W&B keeps what the run prints.
    """

    def __init__(
        self,
        output_dir: str,
        mode: str,
        base_url: str,
        patience: float,
        described: dict[str, Any],
        console: bool = False,
    ) -> None:
        address = "" if mode in ("offline", "disabled") else base_url
        label = f"W&B at {redact_text(address)}" if address else "W&B"
        Tracker.__init__(self, label, patience if address else None)
        WandbLogger.__init__(self, save_dir=output_dir, project=described["project"], name=described.get("run_name"))
        self._folder, self._mode, self._address, self._described = Path(output_dir), mode, address, described
        self._console, self._fell_back = console, False
        self._defined: set[str] = set()
        self._run: Any = None

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """W&B's run, for `logger.experiment.log(...)` in code of your own.

        Takes and ignores all while there is none, and never waits: `tracking` has waited for a first answer.
        """
        return self._experiment or DummyLogger().experiment

    def await_begin(self, until: float) -> None:
        """As any tracker; but while W&B records the command line, no other process may be started with it."""
        super().await_begin(until if sys.argv == _redacted_argv() else until + PROBE + INIT - START)

    def begin(self) -> None:
        """Begin a run, or go on with the one that this folder had."""
        if self._address and not answers(self._address, PROBE):
            self._go_offline()
        known = recall(self._folder, "wandb")
        run_id = known or given("WANDB_RUN_ID", self.description.sweep) or secrets.token_hex(4)
        _stage_in(self._folder / "wandb")
        before = set(self._folder.glob("wandb/*"))
        began = monotonic()
        try:
            run = self._init(run_id)
        except Exception as error:
            for path in set(self._folder.glob("wandb/*")) - before:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            if self._mode == "offline" or monotonic() - began < INIT:  # an answer
                remedy = "" if self._mode == "offline" else "; logger.wandb.mode=offline asks nobody"
                raise ConfigError(f"{self.label} refuses the run ({_reason(error)}){remedy}") from error
            _session(anew=True)
            self._go_offline()
            run = self._init(run_id)
        remember(self._folder, "wandb", run.id)
        for axis in AXES:
            run.define_metric(axis, hidden=True)
        run.define_metric("*", step_metric=STEP, step_sync=True)
        self._experiment = self._run = run

    def _go_offline(self) -> None:
        self._mode, self._fell_back = "offline", True
        self.notices.append(f"{self.label} does not answer; this run is kept offline, and can be sent later")

    def _init(self, run_id: str) -> Any:
        import wandb

        online = self._mode in ("online", "shared")
        of_run = self.description
        follows = {"run_name": of_run.name, "run_group": of_run.group, "run_job_type": of_run.task,
                   "run_notes": of_run.notes, "run_tags": of_run.tags}  # fmt: skip
        settings = {name: value for name, value in follows.items() if value} | self._described | _git(Path.cwd())
        if of_run.marks:
            settings["run_tags"] = tuple(dict.fromkeys((*settings.get("run_tags", ()), *of_run.marks)))
        if online:
            settings["finish_timeout"] = max(1.0, (self.patience or 0.0) - START - 2 * EXIT)
        with _redacted_command_line():
            return wandb.init(
                dir=str(self._folder),
                id=run_id,
                mode=self._mode,  # type: ignore[arg-type]
                resume="allow" if online else None,  # an offline run keeps its id, and is joined on syncing
                settings=wandb.Settings(
                    silent=True,
                    console="wrap" if self._console else "off",
                    init_timeout=INIT,
                    finish_timeout_raises=True,
                    save_code=False,  # a program may hold a secret
                    **settings,
                ),
            )

    def send_config(self, config: dict[str, Any]) -> None:
        """As the run's config; what a resumed run has changed takes the place of what was."""
        WandbLogger.log_hyperparams(self, config)

    def send_numbers(self, rows: list[Row]) -> None:
        """As history; the summary holds the best of each number whose direction is known, until the run ends."""
        for row in rows:
            for name in row.numbers.keys() - self._defined - set(AXES):
                self._defined.add(name)
                if best := direction(name):
                    self._run.define_metric(name, step_metric=STEP, step_sync=True, summary=best)
            self._run.log(row.position | row.numbers | {STEP: row.step})

    def send_finals(self, numbers: dict[str, float], step: int) -> None:
        """In the summary, where they make no chart of a single point."""
        self._run.summary.update(numbers)

    def send_pictures(self, pictures: Mapping[str, Path], step: int) -> None:
        """As images; of the same name at several steps W&B shows one with a slider."""
        import wandb

        images = {name: wandb.Image(str(path)) for name, path in pictures.items()}
        self._run.log(images | {STEP: step})

    def send_sounds(self, sounds: Mapping[str, Path], step: int) -> None:
        """As audio."""
        import wandb

        self._run.log({name: wandb.Audio(str(path)) for name, path in sounds.items()} | {STEP: step})

    def send_texts(self, texts: Mapping[str, str], step: int) -> None:
        """As a table for each, a row a line."""
        import wandb

        for name, text in texts.items():
            rows = [[number, line] for number, line in enumerate(text.splitlines())]
            self._run.log({name: wandb.Table(columns=["number", "text"], data=rows), STEP: step})

    def send_tables(self, tables: Mapping[str, Path], step: int) -> None:
        """As tables, at most `SHOWN_ROWS` rows; the name of one that is cut says so."""
        import wandb

        for name, path in tables.items():
            found = first_rows(path, SHOWN_ROWS)
            table = wandb.Table(columns=[*found.columns], data=found.rows, allow_mixed_types=True)
            shown = f"{name} (first {SHOWN_ROWS:,} rows)" if found.cut else name
            self._run.log({shown: table, STEP: step})

    def send_histograms(self, histograms: Mapping[str, Histogram], step: int) -> None:
        """As histograms over steps."""
        import wandb

        drawn = {
            name: wandb.Histogram(np_histogram=(one.counts.tolist(), one.edges.tolist()))
            for name, one in histograms.items()
        }
        self._run.log(drawn | {STEP: step})

    def send_files(self, files: Mapping[str, Path]) -> None:
        """As files of the run. They are copied, so that `wandb sync` finds them wherever the run folder is then."""
        for name, path in files.items():
            kept = Path(self._run.dir) / name
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, kept)
            self._run.save(str(kept), base_path=self._run.dir, policy="now")

    def send_model(self, model: SavedModel) -> None:
        """As an artifact `best` and `latest`, made from a data artifact that holds no data, only where they lie."""
        import wandb

        data = wandb.Artifact(
            f"{_artifact(model.data)}-{model.fingerprint[:12]}",
            type="dataset",
            metadata=dict(model.about_data) | {"fingerprint": model.fingerprint, "source": model.source},
        )
        if model.source is not None and Path(model.source).is_file():  # of a folder W&B would list every file
            data.add_reference(Path(model.source).absolute().as_uri(), name="data", checksum=False)
        # An offline run may use what it logs itself; W&B's own method refuses it without asking what it is.
        _inner(self._run, "_log_artifact")(data, is_user_created=True, use_after_commit=True)
        made = wandb.Artifact(_artifact(model.name), type="model", metadata=dict(model.about))
        files = {f"model/{path.name}": path for path in sorted(model.folder.iterdir()) if path.is_file()}
        if model.checkpoint is not None:
            files["best.ckpt"] = model.checkpoint
        # W&B would copy them all into the home of the user, where they stay until the run is sent.
        part = Path(self._run.dir).parent
        for name, path in files.items():
            made.add_file(str(_linked(path, part / "artifact" / name)), name=name, policy="immutable", skip_cache=True)
        self._run.log_artifact(made, aliases=["best", "latest"])

    def send_alert(self, title: str, text: str) -> None:
        """As an alert, which W&B sends by mail or to a channel."""
        self._run.alert(title, text, level="WARN")

    def send_summary(self, numbers: dict[str, float], step: int) -> None:
        """As the summary, which until then holds the last value of each number."""
        self._run.summary.update(numbers)

    def end(self, status: Status) -> None:
        """Finish, with the exit code of the run."""
        try:
            self._run.finish(exit_code=EXIT_CODES[status])
            if self._mode == "offline" and not self._fell_back:
                self.hints.append(f"W&B: kept offline{self.remedy()}")
        except TimeoutError:
            self.notices.append(f"{self.label} did not take everything in time{self.remedy()}")
        if self._fell_back:
            self.notices.append(f"{self.label} has nothing of this run{self.remedy()}")

    def leave(self) -> None:
        """Take back the hook by which W&B waits for its service at exit: that goes on without us, for a while."""
        from wandb.sdk import wandb_setup

        connection = _inner(wandb_setup.singleton(), "_connection")
        if connection is not None and (take_back := _inner(connection, "_cleanup")) is not None:
            take_back()

    def remedy(self) -> str:
        """The command that sends the run's files, of all parts of a run that was resumed."""
        if not self._run:
            return ""
        parts = sorted(self._folder.glob(f"wandb/*run-*-{self._run.id}"))
        shown = parts if len(parts) > 1 else [Path(self._run.dir).parent]
        return f"; send it with: wandb sync {' '.join(quoted(str(part)) for part in shown)}"


@target
def wandb(
    output_dir: str,
    project: str,
    name: str | None,
    entity: str | None,
    group: str | None,
    tags: list[str | int | float] | None,
    notes: str | None,
    mode: Mode,
    patience: Annotated[float, Ge(0)],
    job_type: str | None,
    console: bool,
    examples: bool,
) -> WandbTracker:
    """Weights & Biases, its files under `<output_dir>/wandb`.

    Mode `auto` is online where somebody is logged in (WANDB_API_KEY, or a netrc entry) and offline
    elsewhere; the variable WANDB_MODE decides over it. It never asks for anything.

    Args:
        name: of the run; null: of the run folder, or in a sweep what varies.
        group: null: the sweep, or the experiment.
        job_type: null: the task.
        patience: seconds that W&B may add to a run in all where its server is slow or dead.
        console: keep what the run prints from when W&B has begun.
        examples: send what shows examples of your data.

    Raises:
        ConfigError: a tag is longer than W&B takes, or W&B could not start.
    """
    if long := next((str(tag) for tag in tags or () if len(str(tag)) > LONGEST_TAG), None):
        raise ConfigError(f"tags: W&B takes at most {LONGEST_TAG} letters, and {printable(long)} has {len(long)}")
    asked = {"project": project, "run_name": name, "entity": entity, "run_group": group, "run_job_type": job_type,
             "run_notes": notes, "run_tags": tuple(map(str, tags or ()))}  # fmt: skip
    if not _first():  # other processes tell W&B nothing
        return WandbTracker(output_dir, "offline", "", patience, asked)
    session = _session()
    recorded = {field: asked.get(field) or getattr(session, field, None) for field in RECORDED}
    described = {field: redact(value) for field, value in recorded.items() if value}
    wanted = os.environ.get("WANDB_MODE") or _reachable_mode(session) if mode == "auto" else mode
    wanted = {"run": "online", "dryrun": "offline"}.get(wanted, wanted)
    tracker = WandbTracker(output_dir, wanted, session.base_url, patience, described, console)
    tracker.examples = examples
    return tracker


def _inner(owner: Any, name: str) -> Any:
    """An attribute that W&B does not promise to keep.

    Raises:
        ConfigError: W&B has another version, without it.
    """
    try:
        return getattr(owner, name)
    except AttributeError as error:
        import wandb

        raise ConfigError(
            f"W&B {wandb.__version__} has no {type(owner).__name__}.{name}, which vaelab needs; install the version "
            f"that it was tested with: pip install wandb=={TESTED}"
        ) from error


def _linked(path: Path, place: Path) -> Path:
    """The same file under another name: a resumed run replaces `path`, and this stays what it was."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    try:
        place.hardlink_to(path)
    except OSError:  # a file system without links
        shutil.copyfile(path, place)
    return place


def _stage_in(folder: Path) -> None:
    """Keep what W&B stages for a later upload in the run folder, unless the variable says where."""
    global _staging
    if os.environ.get(STAGING) in (None, _staging):
        os.environ[STAGING] = _staging = str(folder.absolute())


def _reason(error: Exception) -> str:
    """The first line; of pydantic's errors, the first of which only counts them, what the first of them is."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error).partition("\n")[0]


def _artifact(name: str) -> str:
    """A name that an artifact may have."""
    return re.sub(r"[^\w.-]+", "-", name)[:100]


def _first() -> bool:
    """Whether this process is the first of its run; before a trainer exists, too."""
    return getattr(rank_zero_only, "rank", 0) == 0


def _session(anew: bool = False) -> Any:
    """W&B's settings of this process, from its variables and files."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # sends errors to W&B, and waits for it at exit
    import wandb

    if anew:
        wandb.teardown()
    try:
        return wandb.setup(wandb.Settings(silent=True)).settings
    except Exception as error:
        raise ConfigError(f"W&B could not start ({error}); logger=none does without") from error


def _reachable_mode(session: Any) -> Literal["online", "offline"]:
    """Online where a key is known; asking for one would hang a run that nobody watches."""
    if session.api_key or session.identity_token_file or os.environ.get("WANDB_API_KEY"):
        return "online"
    address = urlsplit(session.base_url)
    hosts = [address.netloc, address.hostname or ""] + ["api.wandb.ai"] * ("WANDB_BASE_URL" not in os.environ)
    try:
        file = netrc.netrc(os.environ.get("NETRC"))
    except (OSError, netrc.NetrcParseError):
        return "offline"
    return "online" if any(file.authenticators(host) for host in hosts) else "offline"


def _git(folder: Path) -> dict[str, Any]:
    """The commit, and the repository's address without a password; W&B would record a token in it."""
    commit = os.environ.get("WANDB_GIT_COMMIT") or answer(folder, "rev-parse", "HEAD")
    if not commit:
        return {"disable_git": True}
    address = os.environ.get("WANDB_GIT_REMOTE_URL") or answer(folder, "config", "--get", "remote.origin.url")
    return {"git_commit": commit, "git_remote_url": redact_text(address)}


def _redacted_argv() -> list[str]:
    return [redact_override(argument) for argument in sys.argv]


@contextmanager
def _redacted_command_line() -> Iterator[None]:
    """W&B records the command line."""
    typed = sys.argv
    sys.argv = _redacted_argv()
    try:
        yield
    finally:
        sys.argv = typed
