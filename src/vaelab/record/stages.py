"""Progress during evaluation: minutes without output would look like a hanging run."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

REFRESH = 0.5  # seconds between updates of the text


class Stages:
    """A bar on a terminal; elsewhere, such as in a file, a line for each step.

    Args:
        visible: whether anything is shown; `trainer.enable_progress_bar`.
    """

    def __init__(self, visible: bool = True) -> None:
        self._visible = visible

    @contextmanager
    def show(self, what: str, steps: int | None = None) -> Iterator["Stage"]:
        """Show a stage until the block ends; `steps` is the number of its steps, None if unknown."""
        console = Console(markup=False, highlight=False)
        bar = None
        if self._visible and console.is_terminal:
            columns = [TextColumn("{task.description}"), BarColumn(bar_width=16), TimeElapsedColumn()]
            if steps is not None:
                columns.insert(2, MofNCompleteColumn())
            bar = Progress(*columns, TextColumn("{task.fields[now]}"), console=console, refresh_per_second=1 / REFRESH)
        elif self._visible and steps is None:
            console.print(f"{what} ...")
        stage = Stage(what, steps, console if self._visible else None, bar)
        if bar is None:
            yield stage
            return
        with bar:
            yield stage


class Stage:
    """A stage that `Stages` shows."""

    def __init__(self, what: str, steps: int | None, console: Console | None, bar: Progress | None) -> None:
        self._what, self._steps, self._console, self._bar = what, steps, console, bar
        self._row = None if bar is None else bar.add_task(what, total=steps, now="")
        self._begun, self._name, self._shown = 0, "", 0.0

    def begin(self, name: str) -> None:
        """Begin the next step."""
        self._begun, self._name = self._begun + 1, name
        if self._bar is not None and self._row is not None:
            self._bar.update(self._row, completed=self._begun - 1, now=name)
        elif self._console is not None:
            self._console.print(f"{self._what} {self._begun} of {self._steps}: {name}", soft_wrap=True)

    def say(self, text: str) -> None:
        """Show the progress of the step."""
        if self._bar is None or self._row is None or monotonic() - self._shown < REFRESH:
            return
        self._shown = monotonic()
        self._bar.update(self._row, now=f"{self._name}, {text}")

    def done(self) -> None:
        """End the last step."""
        if self._bar is not None and self._row is not None:
            self._bar.update(self._row, completed=self._begun, now="")
