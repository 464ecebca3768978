"""What an option of `conf/` states, for tests that build its class themselves."""

from pathlib import Path
from typing import Any

import yaml

CONF = Path(__file__).parents[1] / "conf"


def stated(option: str) -> dict[str, Any]:
    """The settings of an option such as `data/table`, with its `part`, without those that the run fills in."""
    group, *names = option.split("/")
    whole = yaml.safe_load((CONF / f"{option}.yaml").read_text())
    said = [one for one in whole.get("defaults", ()) if isinstance(one, dict)]
    parts = [part for one in said for key, part in one.items() if key == f"/{group}/part@{group}"]
    node: dict[str, Any] = {}
    for part in parts:
        node |= yaml.safe_load((CONF / group / "part" / f"{part}.yaml").read_text())
    own = whole.get(group, {} if parts else whole)
    for name in names:
        own = own.get(name, own)
    filled = ("???", "${")
    return {
        name: value for name, value in (node | own).items() if name != "_target_" and not str(value).startswith(filled)
    }
