"""Examples that the jobs of a sweep share."""

import json
from copy import copy
from typing import Any

from vaelab.data.module import DataModule

OWN = ("corruption", "batch_size", "seed")  # settings of each job; all others determine the examples


class SharedExamples:
    """The examples of the last job that asked, for the next one that describes the same.

    Otherwise a sweep over small runs would spend most of its time on reading, splitting and scaling. All jobs see a
    source in the state in which the first of them read it.
    """

    def __init__(self) -> None:
        self._key = ""
        self._data: DataModule | None = None

    def prepared(self, data: DataModule, node: dict[str, Any]) -> DataModule:
        """`data`, or a copy of what was prepared before with all but its own settings, on the same tensors.

        Args:
            data: not yet prepared.
            node: of the config, that it was built from.
        """
        key = json.dumps([data.storage, {name: value for name, value in node.items() if name not in OWN}])
        if self._data is None or key != self._key:
            self._data = None  # the former examples go before others come
            data.prepare_data()
            data.setup()
            self._key, self._data = key, data
        mine = copy(self._data)  # a trainer holds on to its own
        for name in OWN:
            setattr(mine, name, getattr(data, name))
        return mine
