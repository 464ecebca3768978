"""`vaelab info RUN`"""

import json
from typing import TYPE_CHECKING, Any

from vaelab.commands.options import add_common, loaded, parser

if TYPE_CHECKING:
    from vaelab.trained import Trained


SHOWN = 12  # metrics of a run that are shown


def info(arguments: list[str]) -> None:
    """Describe a model.

    Raises:
        UserError: there is no such model.
    """
    made = parser(
        "info",
        "Describes a trained model: its data, sizes, metrics on the test split, the command that trained it, and the\n"
        "commands that can use it.",
        [
            ("logs/generation/digits-vae/<date>", "for people"),
            ("logs/generation/digits-vae/<date> --json", "for programs"),
        ],
    )
    made.add_argument("--json", action="store_true", help="print JSON")
    add_common(made, None)
    options = made.parse_args(arguments)
    trained = loaded(options)
    from vaelab.trained.facts import facts

    about = facts(trained) | {"commands": ", ".join(commands_for(trained))}
    if options.json:
        print(json.dumps(about, indent=2, allow_nan=False))
        return
    width = max(map(len, about))
    for name, value in about.items():
        print(f"{name:{width}}  {_line(value)}")


def commands_for(trained: "Trained") -> list[str]:
    """Return the commands that can use a model."""
    if trained.reading is None:
        return ["info", "export"]
    usual = ["sample", "reconstruct", "denoise", "encode", "decode", "interpolate", "traverse", "score"]
    return [*usual, *["classify"] * trained.model.infers_label, "export", "explore"]


def _line(value: Any) -> str:
    from vaelab.errors import printable
    from vaelab.notes import some

    if isinstance(value, dict):
        shown = [f"{name} {number:.4g}" for name, number in [*value.items()][:SHOWN]]
        return ", ".join(shown) + (f" and {len(value) - SHOWN} more (--json)" if len(value) > SHOWN else "")
    if isinstance(value, list):
        return some([str(part) for part in value], 20) if value and isinstance(value[0], str) else str(value)
    return printable(f"{value:,}" if isinstance(value, int) else str(value))
