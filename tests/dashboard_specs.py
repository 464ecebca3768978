"""What a dashboard names, read from the JSON that was written."""

import re
from collections.abc import Iterator
from typing import Any


def panels(node: Any) -> Iterator[dict[str, Any]]:
    """Every panel anywhere in what was written, those under closed headings too."""
    if isinstance(node, dict):
        if "viewType" in node:
            yield node
        for value in node.values():
            yield from panels(value)
    elif isinstance(node, list):
        for value in node:
            yield from panels(value)


def named(node: Any) -> tuple[set[str], set[str], set[str]]:
    """The metrics, the keys of configs and the media that panels, orders and columns of run tables name."""
    metrics: set[str] = set()
    places: set[str] = set()
    media: set[str] = set()
    for panel in panels(node):
        config = panel["config"]
        metrics |= set(config.get("metrics", ()))
        metrics |= {config["targetKey"]} if "targetKey" in config else set()
        places |= {f"config:{config['groupBy']}"} if "groupBy" in config else set()
        media |= set(config.get("mediaKeys", ()))
        places |= {config[axis] for axis in ("xAxis", "yAxis") if axis in config and ":" in config[axis]}
        places |= {column["accessor"] for column in config.get("columns", ())}
        places |= {f"config:{key}" for key in re.findall(r"\$\{config:([^}]*)\}", config.get("legendTemplate") or "")}
    for runs in run_sets(node):
        places |= set(runs["runFeed"]["columnOrder"])
        places |= {f"{by['key']['section']}:{by['key']['name']}" for by in runs["sort"]["keys"]}
    kinds = {place: place.partition(":")[0] for place in places}
    assert set(kinds.values()) <= {"summary", "config", "run"}
    metrics |= {place.partition(":")[2] for place, kind in kinds.items() if kind == "summary"}
    settings = {place.partition(":")[2].replace(".value", "", 1) for place, kind in kinds.items() if kind == "config"}
    return metrics, settings, media


def run_sets(node: Any) -> Iterator[dict[str, Any]]:
    """Every set of runs anywhere in what was written."""
    if isinstance(node, dict):
        yield from node.get("runSets", ())
        for value in node.values():
            yield from run_sets(value)
    elif isinstance(node, list):
        for value in node:
            yield from run_sets(value)
