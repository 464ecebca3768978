"""What a run prints."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text
from rich.tree import Tree
from torch import nn

from vaelab.errors import printable
from vaelab.metrics import is_detail
from vaelab.terminal import console

FRAME = 3  # characters of padding and border per cell
SHOWN_FIRST = (
    "task", "data", "model", "encoder", "decoder", "latent", "posterior", "prior", "shortcut",
    "adversary", "perceptual", "fitted_prior", "likelihood", "corruption", "optimizer", "scheduler", "trainer",
    "callbacks", "logger", "paths",
)  # fmt: skip


def print_config(config: dict[str, Any], choices: dict[str, str]) -> None:
    """Print the config as a tree: each group with its chosen option, then the root keys."""
    tree = Tree(Text("config", "bold"), guide_style="dim")
    for group in SHOWN_FIRST:
        if isinstance(config.get(group), dict):
            _grow(
                tree, Text.assemble((group, "bold"), f"={choices[group]}" if choices.get(group) else ""), config[group]
            )
    for key, value in config.items():
        if key not in SHOWN_FIRST:
            tree.add(Text.assemble((key, "bold"), f"={printable(str(value))}"))
    console().print(tree)


def _grow(tree: Tree, label: Text, node: dict[str, Any]) -> None:
    """Add a branch for a node. It uses Text objects, since Rich would interpret markup in strings."""
    flat = {key: value for key, value in node.items() if not isinstance(value, dict) and key != "_target_"}
    branch = tree.add(label.append(f"  {printable(str(node['_target_']))}", "dim") if "_target_" in node else label)
    if flat:
        branch.add(Text("  ".join(printable(f"{key}={value}") for key, value in flat.items())))
    for key, value in node.items():
        if isinstance(value, dict):
            _grow(branch, Text(printable(str(key))), value)


def sizes(model: nn.Module) -> dict[str, int]:
    """Return numbers of parameters of a model: the total as `parameters`, and those of each part that has any."""
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    return {"parameters": sum(parts.values())} | {name: count for name, count in parts.items() if count}


def print_size(model: nn.Module) -> None:
    """Print one line: the number of parameters, total and by part."""
    known = sizes(model)
    total = known.pop("parameters")
    console().print(f"parameters: {total:,} ({', '.join(f'{name} {count:,}' for name, count in known.items())})")


def _side_by_side(names: Sequence[str], cells: dict[str, list[str]], width: int) -> list[dict[str, list[str]]]:
    """Split columns into as many tables as needed to show names and numbers in full: a cut name may be ambiguous."""
    tables: list[dict[str, list[str]]] = []
    left = 0
    for heading, column in cells.items():
        needed = FRAME + max(len(heading), *map(len, column))
        if not tables or left < needed:
            tables.append({})
            left = width - 1 - (FRAME + max(map(len, names)))
        tables[-1][heading] = column
        left -= needed
    return tables


def _table(names: Sequence[str], cells: dict[str, list[str]], title: str | None) -> Table:
    """Return a table with a row for each name that has a cell; on a very narrow terminal, text is wrapped, not cut."""
    table = Table(title=title, title_justify="left")
    table.add_column("metric", overflow="fold")
    for heading in cells:
        table.add_column(heading, justify="right", overflow="fold")
    for name, *row in zip(names, *cells.values(), strict=True):
        if any(row):
            table.add_row(name, *row)
    return table


def print_metrics(
    metrics: dict[str, float], folder: str, notes: Sequence[str] = (), title: str = "best checkpoint"
) -> None:
    """Print a table with one row per metric (validation, test and baselines side by side), notes, and the run folder.

    Columns that do not fit follow in another table.

    Values of a metric at each strength, number of bits or quantile are only in the report. The title says which weights
    were measured.
    """
    prefixes = {name.rpartition("/")[0] for name in metrics}
    columns = ["val", "test", *sorted(prefix for prefix in prefixes if prefix.startswith("baseline/"))]
    found = {name.rpartition("/")[2] for name in metrics if not name.startswith("train/")}
    names = sorted(name for name in found if not is_detail(name))
    headings = [column.removeprefix("baseline/") for column in columns]
    terminal = console()
    cells = {
        heading: [f"{metrics[key]:.5g}" if (key := f"{column}/{name}") in metrics else "" for name in names]
        for heading, column in zip(headings, columns, strict=True)
    }
    if names:
        for number, part in enumerate(_side_by_side(names, cells, terminal.width)):
            terminal.print(_table(names, part, title if number == 0 else None))
    if details := len(found) - len(names):
        terminal.print(f"{details} more rows in report.html and metrics.json")
    for note in notes:
        terminal.print(f"note: {note}", soft_wrap=True)
    terminal.print(Text.assemble("run folder: ", (folder, "bold")), soft_wrap=True)
