"""Piano rolls."""

from collections.abc import Sequence

from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

COLORS = ("tab:red", "tab:orange", "tab:green", "tab:blue", "tab:purple", "tab:brown", "tab:pink", "tab:gray")
HEIGHT, WIDTH = 1.7, 5.0  # inches of a panel


def rolls(
    examples: Sequence[Sequence[Sequence[tuple[int, int, int]]]], steps: int, steps_per_quarter: int, title: str
) -> Figure:
    """A panel for each example with its notes: a colour for each voice, and a gap before a note that is struck again.

    Args:
        examples: for each the notes of each voice: start, length and pitch.
        steps: from the left to the right edge.
        steps_per_quarter: a line marks each quarter.
        title: of the figure.
    """
    columns = 1 if len(examples) == 1 else 2
    rows = -(-len(examples) // columns)
    figure = Figure(figsize=(WIDTH * columns, 0.4 + HEIGHT * rows), dpi=120, layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flat
    pitches = [pitch for example in examples for voice in example for _, _, pitch in voice] or [60]
    for number, axes in enumerate(panels):
        if number >= len(examples):
            axes.set_axis_off()
            continue
        for voice, notes in enumerate(examples[number]):
            color = COLORS[voice % len(COLORS)]
            corners = [
                [(left, pitch - 0.4), (right, pitch - 0.4), (right, pitch + 0.4), (left, pitch + 0.4)]
                for left, right, pitch in ((start + 0.1, start + length - 0.1, pitch) for start, length, pitch in notes)
            ]
            axes.add_collection(PolyCollection(corners, facecolors=color))  # one, since thousands of patches are slow
        axes.set_xticks(range(0, steps + 1, 4 * steps_per_quarter))
        axes.set_xticks(range(0, steps + 1, steps_per_quarter), minor=True)
        axes.grid(axis="x", which="both", linewidth=0.3)
        axes.set_xlim(0, steps)
        axes.set_ylim(min(pitches) - 1.5, max(pitches) + 1.5)
        axes.tick_params(labelsize=7)
        axes.set_title(str(number + 1), fontsize=7, loc="left", pad=2)
    figure.suptitle(f"{title}; MIDI pitch over steps, {steps_per_quarter} to a quarter", fontsize=9)
    return figure
