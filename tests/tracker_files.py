"""What W&B wrote, read back by its own message classes."""

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PATIENCE = 30.0
"""Seconds to wait for W&B to end its files."""


def framed(path: Path) -> Iterator[bytes]:
    """The records of a .wandb file: LevelDB's log format behind a header of seven bytes.

    Each is in pieces of (crc32, length, kind); kinds are full, first, middle, last. Blocks are 32 KiB.
    """
    content, position, record = path.read_bytes(), 7, b""
    while position + 7 <= len(content):  # what is cut off at the end is still being written
        if (left := 32768 - position % 32768) < 7:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + 7])
        if position + 7 + length > len(content):
            return
        record += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            yield record
            record = b""


def wandb_records(folder: Path, kind: str = "offline-run") -> list[Any]:
    """Every record of every run of W&B in a folder, once all of them are written.

    W&B writes from a process of its own, which may still be at it when `finish` has returned. A run's
    file ends with its exit.
    """
    from wandb.proto import wandb_internal_pb2

    end = time.monotonic() + PATIENCE
    while True:
        runs = [list(framed(path)) for path in sorted(folder.glob(f"wandb/{kind}-*/run-*.wandb"))]
        read = [[wandb_internal_pb2.Record.FromString(record) for record in run] for run in runs]
        if all(run and run[-1].WhichOneof("record_type") == "exit" for run in read):
            return [record for run in read for record in run]
        if time.monotonic() > end:
            raise AssertionError(f"W&B has not ended a file of {folder}/wandb within {PATIENCE} seconds")
        time.sleep(0.02)


def history(records: list[Any]) -> dict[str, list[Any]]:
    """What was logged, by name."""
    found: dict[str, list[Any]] = {}
    for record in records:
        for item in record.history.item:
            found.setdefault(_key(item), []).append(json.loads(item.value_json))
    return found


def summary(records: list[Any]) -> dict[str, Any]:
    """The summary that the records amount to: the last value of each number, or what was set later."""
    found: dict[str, Any] = {}
    for record in records:
        for item in (*record.history.item, *record.summary.update):
            found[_key(item)] = json.loads(item.value_json)
    return found


def config(records: list[Any]) -> dict[str, Any]:
    """The config that the records amount to."""
    found: dict[str, Any] = {}
    for record in records:
        for item in (*record.run.config.update, *record.config.update):
            found[_key(item)] = json.loads(item.value_json)
    return found


def _key(item: Any) -> str:
    return item.key or "/".join(item.nested_key)
