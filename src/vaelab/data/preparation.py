"""How a trained model's examples were prepared: scales and categories that its run keeps in `model/`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from torch import Tensor

from vaelab.errors import DataError

AT_ONCE = 2**22  # values looked at

T = TypeVar("T")


def read_preparation(path: Path, parse: Callable[[dict[str, Any]], T]) -> T | None:
    """What a run noted in its `model/` of how it prepares examples; None, and a note to the user, if it has not.

    Raises:
        DataError: it is no JSON, or not what a run writes.
    """
    if not path.is_file():
        Console(stderr=True, soft_wrap=True).print(
            f"note: {path} is not there, so the data are scaled by their own train split, not as the checkpoint's were",
            highlight=False,
            markup=False,
        )
        return None
    try:
        return parse(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: is broken ({type(error).__name__}: {error})") from error


def gaps_as_trained(values: Tensor, trained: bool | None) -> bool:
    """Whether values may be missing, as the model was trained with; as they are where that is None.

    Raises:
        DataError: some are missing, and the model knows no missing values.
    """
    if trained is not True:
        at_once = max(1, AT_ONCE // max(1, values[:1].numel()))
        for part, some in enumerate(values.split(at_once)):
            missing = some.flatten(1).isnan().any(1)
            if missing.any() and trained is None:
                return True
            if missing.any():
                example = part * at_once + int(missing.nonzero()[0])
                raise DataError(f"example {example} has a missing value, and the model was trained on data without any")
    return bool(trained)
