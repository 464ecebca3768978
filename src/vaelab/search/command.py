"""`python train.py sweep=optuna ...` and `resume=<folder of a search>`."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from vaelab.config.recorded import refuse_links_out
from vaelab.config.recorded_jobs import recorded_overrides
from vaelab.errors import ConfigError, InterruptionError
from vaelab.faults import FaultError
from vaelab.launch.process import launched
from vaelab.quoting import typed_path
from vaelab.record.command_line import command_line
from vaelab.run_folder import claim_run_dir
from vaelab.search.checked import Chosen, changes, check_space, objectives, searched
from vaelab.search.storage import OutageError, Storage, address_of
from vaelab.search.words import FILE, SearchWords
from vaelab.signals import Terminated, ending_at_once, exit_code, say
from vaelab.sweep_page.program import program
from vaelab.terminal import console

if TYPE_CHECKING:
    from vaelab.search.settings import Search
    from vaelab.search.study import SharedStudy
    from vaelab.search.worker import Worker


def search(words: SearchWords, folders: list[Path], program: Sequence[str], chosen: Chosen | None) -> int:
    """Start a search, or join an existing one, and run it to its end; return the exit code.

    Args:
        words: the words of the command line.
        folders: of config groups, vaelab's own first.
        program: the start of a command line that starts a run, as in `sys.argv`.
        chosen: the option of a new search; None for an existing one.

    Returns:
        0 if no trial failed, 1 if one did, 128 + the signal after an interruption.

    Raises:
        UserError: the search is not valid; raised before any trial runs.
    """
    _require_optuna()
    with ending_at_once():
        from vaelab.search.settings import Search
        from vaelab.search.study import SharedStudy
        from vaelab.search.worker import Launching, Worker
    if chosen is not None:
        made, storage = _begin(words, folders, chosen)
        trial_words = typed = words.trials
    else:
        assert words.folder is not None
        refuse_links_out(words.folder)
        changed = changes(words.search)
        made = Search.read(words.folder, changed, address_of(changed.get("storage")))
        taken, typed = recorded_overrides(made.words, words.trials, words.folder / FILE, folders)
        trial_words = taken + typed
        for key, entry in made.space.items():
            recorded_overrides(entry.ends(key), [], words.folder / FILE, folders)
        storage = Storage(made.node.storage, made.folder, made.study)
    try:
        with closing(storage), storage.answering():
            study = SharedStudy(made, storage)
            if words.folder is not None and (again := study.run_failed_again()):
                _print(f"failed trials run again as new trials: {', '.join(map(str, again))}")
            worker = Worker(made, study, Launching(launched(program), words.flags, trial_words, typed), _print)
            worker.record()
            _print(f"search folder: {made.folder}")
            worker.run()
            return _finish(made, study, worker, words.flags)
    except KeyboardInterrupt as stop:
        raise InterruptionError(f"interrupted; {_go_on(made)}", exit_code(stop)) from stop
    except OutageError as error:
        raise OutageError(f"{error}; {_go_on(made)}") from error
    except OSError as error:
        raise FaultError(f"{error.filename or made.folder}: {error.strerror}; {_go_on(made)}") from error


def _go_on(made: "Search") -> str:
    return f"resume it with {typed_path('resume', made.folder)}"


def _finish(made: "Search", study: "SharedStudy", worker: "Worker", flags: Sequence[str]) -> int:
    """Write and print the results of the search; after an interruption, only what is fast."""
    stop = None if worker.told is None else Terminated(worker.told)
    with ending_at_once(f"interrupted; {_go_on(made)}"):
        from vaelab.search.results import CSV, PAGE, Results
        from vaelab.sweep_page.end import losing_no_exit_code

        if stop is None:
            import vaelab.sweep_page.figures  # noqa: F401, matplotlib takes a while

    def read() -> Results:
        return Results(made, study, program(), flags)

    if stop is None:
        results = None
        while results is None:
            results = worker.outages.tried(read, None)
    else:
        try:
            with study.answering():
                results = read()
        except OutageError as error:
            raise InterruptionError(f"interrupted; {_go_on(made)}", stop.exit_code) from error
    written = ""
    with losing_no_exit_code(made.folder):
        results.show()
        if stop is None:
            results.write()
            written = f" ({CSV}, {PAGE})"
        else:
            results.write_csv()
            written = f" ({CSV})"
    _print(f"search folder: {made.folder}{written}")
    if results.missing or results.failed:
        what = "the unfinished trials" if results.missing else "the failed trials again"
        _print(f"run {what} with {typed_path('resume', made.folder)}")
    return stop.exit_code if stop is not None else int(bool(results.failed or results.missing))


def _begin(words: SearchWords, folders: list[Path], chosen: Chosen) -> "tuple[Search, Storage]":
    """Check a new search and create its folder; return it with the storage of its study."""
    from vaelab.search.settings import Search, read_node

    config, hydra = chosen.config, chosen.config.hydra
    node = read_node({**chosen.node, "storage": address_of(chosen.node.get("storage"))})
    given, space = searched(words, node.space)
    node = replace(node, space=given)
    check_space(words.trials, space, folders)
    found = objectives(words.trials, node, space, folders)
    log_dir, task = str(config.paths.log_dir), str(hydra.runtime.choices.task)
    folder = Path(claim_run_dir(None, str(Path(log_dir, task, "search"))))
    study = f"vaelab {task} {folder.name} {uuid4().hex[:8]}"
    node = replace(node, space={key: value for key, value in node.space.items() if key in space})
    made = Search(folder, command_line(), words.trials, study, found, node, space)
    storage = Storage(node.storage, folder, study)  # this may raise
    made.write()
    return made, storage


def _require_optuna() -> None:
    with ending_at_once():
        try:
            import optuna  # noqa: F401
        except ModuleNotFoundError as error:
            raise ConfigError(f"sweep needs optuna ({error.name} is missing): pip install 'vaelab[search]'") from error


def _print(line: str) -> None:
    if line.startswith("error: "):
        say(line)
    else:
        console(width=None).print(line, soft_wrap=True)
