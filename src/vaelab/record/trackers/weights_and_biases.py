"""Weights & Biases, with files in `<run folder>/wandb`."""

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

PROBE, INIT = 3.0, 8.0  # seconds for a first answer, and to begin a run of W&B
STEP = "trainer/global_step"  # the step axis, as named by Lightning
AXES = (STEP, "epoch", "trainer/examples")
SHOWN_ROWS = 1_000  # rows of a table
TESTED = "0.31.0"  # the version of W&B whose private attributes are used
LONGEST_TAG = 64  # characters, a limit of W&B
STAGING = "WANDB_DATA_DIR"
EXIT_CODES: dict[Status, int] = {"finished": 0, "failed": 1, "killed": 143}
# Settings of W&B with texts of users and machines; environment variables can set them too.
RECORDED = ("project", "entity", "run_name", "run_group", "run_job_type", "run_notes", "run_tags", "host", "username",
            "email", "docker", "program", "notebook_name", "job_name", "x_label")  # fmt: skip


_staging: str | None = None  # the value that this module set the variable to, for the previous run of a sweep


class WandbTracker(Tracker, WandbLogger):
    """A run of W&B: online if its server answers, else offline in the same folder, to be sent later.

    Args:
        output_dir: the run folder.
        mode: `online`, `offline`, `disabled` or `shared`.
        base_url: the address of W&B's server.
        patience: total seconds that the server may delay the run.
        described: settings of W&B about the run; others follow from the run's description.
        console: whether W&B stores the output of the run.
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
        """W&B's run, for `logger.experiment.log(...)` in your own code.

        While there is no run, it ignores all calls. It never waits: `tracking` has waited for a first answer.
        """
        return self._experiment or DummyLogger().experiment

    def await_begin(self, until: float) -> None:
        """As for any tracker; but while W&B records the (redacted) command line, no other process may be started."""
        super().await_begin(until if sys.argv == _redacted_argv() else until + PROBE + INIT - START)

    def begin(self) -> None:
        """Begin a run, or continue the run of this folder."""
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
                remedy = "" if self._mode == "offline" else "; logger.wandb.mode=offline needs no server"
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
        self.notices.append(f"{self.label} does not answer; this run is stored offline, and can be sent later")

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
                resume="allow" if online else None,  # an offline run keeps its id, and is merged when it is synced
                settings=wandb.Settings(
                    silent=True,
                    console="wrap" if self._console else "off",
                    init_timeout=INIT,
                    finish_timeout_raises=True,
                    save_code=False,  # a program may contain a secret
                    **settings,
                ),
            )

    def send_config(self, config: dict[str, Any]) -> None:
        """Send the run's config; changed values of a resumed run replace earlier ones."""
        WandbLogger.log_hyperparams(self, config)

    def send_numbers(self, rows: list[Row]) -> None:
        """Send numbers as history; until the run ends, the summary has the best value of metrics with a direction."""
        for row in rows:
            for name in row.numbers.keys() - self._defined - set(AXES):
                self._defined.add(name)
                if best := direction(name):
                    self._run.define_metric(name, step_metric=STEP, step_sync=True, summary=best)
            self._run.log(row.position | row.numbers | {STEP: row.step})

    def send_finals(self, numbers: dict[str, float], step: int) -> None:
        """Send final numbers to the summary, to avoid charts with a single point."""
        self._run.summary.update(numbers)

    def send_pictures(self, pictures: Mapping[str, Path], step: int) -> None:
        """Send figures as images; W&B shows images of the same name at several steps with a slider."""
        import wandb

        images = {name: wandb.Image(str(path)) for name, path in pictures.items()}
        self._run.log(images | {STEP: step})

    def send_sounds(self, sounds: Mapping[str, Path], step: int) -> None:
        """As audio."""
        import wandb

        self._run.log({name: wandb.Audio(str(path)) for name, path in sounds.items()} | {STEP: step})

    def send_texts(self, texts: Mapping[str, str], step: int) -> None:
        """Send each text as a table, with one row per line."""
        import wandb

        for name, text in texts.items():
            rows = [[number, line] for number, line in enumerate(text.splitlines())]
            self._run.log({name: wandb.Table(columns=["number", "text"], data=rows), STEP: step})

    def send_tables(self, tables: Mapping[str, Path], step: int) -> None:
        """Send tables with at most `SHOWN_ROWS` rows; the name of a truncated table says so."""
        import wandb

        for name, path in tables.items():
            found = first_rows(path, SHOWN_ROWS)
            table = wandb.Table(columns=[*found.columns], data=found.rows, allow_mixed_types=True)
            shown = f"{name} (first {SHOWN_ROWS:,} rows)" if found.cut else name
            self._run.log({shown: table, STEP: step})

    def send_histograms(self, histograms: Mapping[str, Histogram], step: int) -> None:
        """Send histograms over steps."""
        import wandb

        drawn = {
            name: wandb.Histogram(np_histogram=(one.counts.tolist(), one.edges.tolist()))
            for name, one in histograms.items()
        }
        self._run.log(drawn | {STEP: step})

    def send_files(self, files: Mapping[str, Path]) -> None:
        """Send files of the run. They are copied, so that `wandb sync` finds them even if the run folder has moved."""
        for name, path in files.items():
            kept = Path(self._run.dir) / name
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, kept)
            self._run.save(str(kept), base_path=self._run.dir, policy="now")

    def send_model(self, model: SavedModel) -> None:
        """Send the model as an artifact `best` and `latest`, derived from a data artifact that has only a location."""
        import wandb

        data = wandb.Artifact(
            f"{_artifact(model.data)}-{model.fingerprint[:12]}",
            type="dataset",
            metadata=dict(model.about_data) | {"fingerprint": model.fingerprint, "source": model.source},
        )
        if model.source is not None and Path(model.source).is_file():  # for a folder, W&B would list every file
            data.add_reference(Path(model.source).absolute().as_uri(), name="data", checksum=False)
        # An offline run may use an artifact that it logs itself, but W&B's public method refuses any.
        _inner(self._run, "_log_artifact")(data, is_user_created=True, use_after_commit=True)
        made = wandb.Artifact(_artifact(model.name), type="model", metadata=dict(model.about))
        files = {f"model/{path.name}": path for path in sorted(model.folder.iterdir()) if path.is_file()}
        if model.checkpoint is not None:
            files["best.ckpt"] = model.checkpoint
        # W&B would copy all of them to the user's home folder, where they stay until the run is sent.
        part = Path(self._run.dir).parent
        for name, path in files.items():
            made.add_file(str(_linked(path, part / "artifact" / name)), name=name, policy="immutable", skip_cache=True)
        self._run.log_artifact(made, aliases=["best", "latest"])

    def send_alert(self, title: str, text: str) -> None:
        """Send an alert, which W&B forwards by mail or to a channel."""
        self._run.alert(title, text, level="WARN")

    def send_summary(self, numbers: dict[str, float], step: int) -> None:
        """Send final numbers as the summary."""
        self._run.summary.update(numbers)

    def end(self, status: Status) -> None:
        """Finish the run, with its exit code."""
        try:
            self._run.finish(exit_code=EXIT_CODES[status])
            if self._mode == "offline" and not self._fell_back:
                self.hints.append(f"W&B: stored offline{self.remedy()}")
        except TimeoutError:
            self.notices.append(f"{self.label} did not accept everything in time{self.remedy()}")
        if self._fell_back:
            self.notices.append(f"{self.label} received nothing of this run{self.remedy()}")

    def leave(self) -> None:
        """Remove the hook by which W&B waits for its service at exit; the service continues for a while by itself."""
        from wandb.sdk import wandb_setup

        connection = _inner(wandb_setup.singleton(), "_connection")
        if connection is not None and (take_back := _inner(connection, "_cleanup")) is not None:
            take_back()

    def remedy(self) -> str:
        """Return the command that sends the run's files, including all parts of a resumed run."""
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
    """Make the W&B tracker, with files in `<output_dir>/wandb`.

    Mode `auto` is online if the user is logged in (WANDB_API_KEY, or a netrc entry), else offline; the
    variable WANDB_MODE takes precedence. There are no prompts.

    Args:
        name: the name of the run; null: the name of the run folder, or in a sweep the overrides that vary.
        group: null: the sweep, or the experiment.
        job_type: null: the task.
        patience: total seconds that W&B may delay a run if its server is slow or unreachable.
        console: store the output of the run after W&B has begun.
        examples: send figures, texts, tables and models, which may show examples of your data.

    Raises:
        ConfigError: a tag is too long for W&B, or W&B could not start.
    """
    if long := next((str(tag) for tag in tags or () if len(str(tag)) > LONGEST_TAG), None):
        raise ConfigError(f"tags: W&B allows at most {LONGEST_TAG} characters, but {printable(long)} has {len(long)}")
    asked = {"project": project, "run_name": name, "entity": entity, "run_group": group, "run_job_type": job_type,
             "run_notes": notes, "run_tags": tuple(map(str, tags or ()))}  # fmt: skip
    if not _first():  # other processes send nothing to W&B
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
    """Return a private attribute of W&B.

    Raises:
        ConfigError: this version of W&B does not have it.
    """
    try:
        return getattr(owner, name)
    except AttributeError as error:
        import wandb

        raise ConfigError(
            f"W&B {wandb.__version__} has no {type(owner).__name__}.{name}, which vaelab needs; install the tested "
            f"version: pip install wandb=={TESTED}"
        ) from error


def _linked(path: Path, place: Path) -> Path:
    """Hard-link a file to another name: a resumed run replaces `path`, but the link keeps the old contents."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    try:
        place.hardlink_to(path)
    except OSError:  # a file system without links
        shutil.copyfile(path, place)
    return place


def _stage_in(folder: Path) -> None:
    """Let W&B stage later uploads in the run folder, unless an environment variable sets the place."""
    global _staging
    if os.environ.get(STAGING) in (None, _staging):
        os.environ[STAGING] = _staging = str(folder.absolute())


def _reason(error: Exception) -> str:
    """Return the first line of an error; for pydantic, whose first line is only a count, the first actual error."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error).partition("\n")[0]


def _artifact(name: str) -> str:
    """Convert a name to a valid artifact name."""
    return re.sub(r"[^\w.-]+", "-", name)[:100]


def _first() -> bool:
    """Whether this process is the first of its run, also before a trainer exists."""
    return getattr(rank_zero_only, "rank", 0) == 0


def _session(anew: bool = False) -> Any:
    """Return W&B's settings of this process, from its environment variables and files."""
    os.environ.setdefault(
        "WANDB_ERROR_REPORTING", "false"
    )  # else W&B sends its errors home, and waits for that at exit
    import wandb

    if anew:
        wandb.teardown()
    try:
        return wandb.setup(wandb.Settings(silent=True)).settings
    except Exception as error:
        raise ConfigError(f"W&B could not start ({error}); logger=none runs without it") from error


def _reachable_mode(session: Any) -> Literal["online", "offline"]:
    """Return online if there is an API key, else offline; a prompt for a key would block an unattended run."""
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
    """Return the commit, and the repository's address without a password, since W&B would record a token in it."""
    commit = os.environ.get("WANDB_GIT_COMMIT") or answer(folder, "rev-parse", "HEAD")
    if not commit:
        return {"disable_git": True}
    address = os.environ.get("WANDB_GIT_REMOTE_URL") or answer(folder, "config", "--get", "remote.origin.url")
    return {"git_commit": commit, "git_remote_url": redact_text(address)}


def _redacted_argv() -> list[str]:
    return [redact_override(argument) for argument in sys.argv]


@contextmanager
def _redacted_command_line() -> Iterator[None]:
    """Redact the command line while W&B records it."""
    typed = sys.argv
    sys.argv = _redacted_argv()
    try:
        yield
    finally:
        sys.argv = typed
