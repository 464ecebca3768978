"""What an option of `conf/` states, for tests that build its class themselves."""

from pathlib import Path
from typing import Any

import yaml

CONF = Path(__file__).parents[1] / "conf"


def stated(option: str) -> dict[str, Any]:
    """The settings of an option such as `data/table`, without those that the run fills in."""
    node = yaml.safe_load((CONF / f"{option}.yaml").read_text())
    for name in option.split("/"):
        node = node.get(name, node)
    filled = ("???", "${")
    return {name: value for name, value in node.items() if name != "_target_" and not str(value).startswith(filled)}
