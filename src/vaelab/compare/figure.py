"""One panel per column: points if rows differ by name, lines if they differ in one numeric setting."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vaelab.compare.table import Table
from vaelab.metrics import aim

TICKS = 8  # numbers below a logarithmic axis
MANY = 24  # rows above which they are drawn smaller
ABOVE = 6  # z-order of runs: above the legend, which may cover lines of baselines but no run
COLORS = ("tab:orange", "tab:green", "tab:purple", "tab:brown")


def draw(table: Table, title: str) -> Figure:
    """Draw the figure of a comparison. Baselines are dashed lines; the best run is red."""
    axis = _numbers([row.label for row in table.rows])
    many = axis is None and len(table.rows) > MANY
    columns = min(6 if many else 3, len(table.columns))  # many names are written only once, left of all panels
    rows = -(-len(table.columns) // columns)
    height = 2.6 if axis else 0.9 + (0.14 if many else 0.28) * len(table.rows)
    figure = Figure(figsize=(4.2 * columns, height * rows + 0.4), dpi=120, layout="constrained")
    if many:
        figure = _long_figure(max(len(row.label) for row in table.rows), columns, rows, height)
    shared = axis is None and not many
    grid = list(figure.subplots(rows, columns, squeeze=False, sharey="row" if shared else False).flat)
    for place, (axes, column) in enumerate(zip(grid, table.columns, strict=False)):
        if axis is None:
            _points(axes, table, column, named=shared or place % columns == 0)
        else:
            _line(axes, table, column, *axis)
        joined = "\n" if many else "  "
        axes.set_title(f"{column}{joined}({aim(column)})" if aim(column) else column, fontsize=9)
        axes.tick_params(labelsize=6 if many else 7)
    for axes in grid[len(table.columns) :]:
        axes.set_axis_off()
    figure.suptitle(title, fontsize=10, **({"y": 1 - 0.1 / figure.get_figheight(), "va": "top"} if many else {}))
    return figure


def _long_figure(longest: int, columns: int, rows: int, height: float) -> Figure:
    """Make a figure for many rows. Margins follow from the length of names: measuring all of them is slow."""
    left, width, tall = 0.3 + 0.055 * min(longest, 90), 2.0 * columns, height * rows + 0.6
    figure = Figure(figsize=(left + width + 0.1, tall), dpi=110)
    figure.subplots_adjust(
        left / (left + width + 0.1), 0.3 / tall, 1 - 0.1 / (left + width + 0.1), 1 - 0.75 / tall, 0.08, 0.9 / height
    )
    return figure


def _numbers(labels: list[str]) -> tuple[str, list[float]] | None:
    """Return the key and its values if all rows differ in one numeric setting."""
    pairs = [label.partition("=") for label in labels]
    if len(labels) < 3 or len({key for key, _, _ in pairs}) > 1:
        return None
    try:
        return pairs[0][0], [float(value) for _, _, value in pairs]
    except ValueError:
        return None


def _points(axes: Axes, table: Table, column: str, named: bool) -> None:
    best = table.best(column)
    found = [(place, value) for place, row in enumerate(table.rows) if (value := row.mean(column)) is not None]
    for color, wins in (("tab:blue", False), ("tab:red", True)):
        points = [(place, value) for place, value in found if (value == best) == wins]
        spreads = [table.rows[place].spread(column) or float("nan") for place, _ in points]
        if points:  # one call for all: a call for each takes seconds for a hundred rows
            axes.errorbar(
                [value for _, value in points], [place for place, _ in points], xerr=spreads,
                fmt="o", markersize=5 if len(table.rows) <= MANY else 3.5, color=color, capsize=3, zorder=ABOVE,
            )  # fmt: skip
    if named:
        axes.set_yticks(range(len(table.rows)), [row.label for row in table.rows])
    else:
        axes.set_yticks([])
    axes.set_ylim(len(table.rows) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)
    for color, (name, value) in zip(COLORS, _flat_baselines(table, column), strict=False):
        axes.axvline(value, color=color, linestyle="--", linewidth=1, label=name)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=6, framealpha=0.8, edgecolor="none")


def _line(axes: Axes, table: Table, column: str, key: str, numbers: list[float]) -> None:
    order = sorted(range(len(numbers)), key=numbers.__getitem__)
    measured = [i for i in order if table.rows[i].mean(column) is not None]
    axes.errorbar(
        [numbers[i] for i in measured],
        [table.rows[i].mean(column) or 0.0 for i in measured],
        yerr=[table.rows[i].spread(column) or 0.0 for i in measured],
        fmt="o-", markersize=4, color="tab:blue", label="runs", zorder=ABOVE,
    )  # fmt: skip
    names = list(dict.fromkeys(name for row in table.rows for name in row.baselines))
    for color, name in zip(COLORS, names, strict=False):
        points = [(numbers[i], table.rows[i].baselines.get(name, {}).get(column)) for i in order]
        if found := [(x, y) for x, y in points if y is not None]:
            axes.plot(*zip(*found, strict=True), "--", color=color, linewidth=1, label=name)
    if min(numbers) > 0 and max(numbers) / min(numbers) >= 8:
        axes.set_xscale("log")
        shown = sorted(set(numbers))
        shown = shown[:: -(-len(shown) // TICKS)]
        axes.set_xticks(shown, [f"{number:g}" for number in shown])
        axes.set_xticks([], minor=True)
    axes.set_xlabel(key, fontsize=8)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=6, framealpha=0.8, edgecolor="none")


def _flat_baselines(table: Table, column: str) -> list[tuple[str, float]]:
    """Return the baselines that have the same value for every row."""
    found: dict[str, set[float]] = {}
    for row in table.rows:
        for name, numbers in row.baselines.items():
            if column in numbers:
                found.setdefault(name, set()).add(numbers[column])
    return [(name, values.pop()) for name, values in found.items() if len(values) == 1]
