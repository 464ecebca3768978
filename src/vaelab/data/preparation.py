"""How a trained model's examples were prepared: scales and categories that its run keeps in `model/`."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import Tensor

from vaelab.errors import DataError


def read_preparation(path: Path) -> dict[str, Any] | None:
    """What a run noted in its `model/` of how it prepares examples; None, and a note to the user, if it has not.

    Raises:
        DataError: it is no JSON.
    """
    if not path.is_file():
        Console(stderr=True, soft_wrap=True).print(
            f"note: {path} is not there, so the data are scaled by their own train split, not as the checkpoint's were",
            highlight=False,
        )
        return None
    try:
        read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: is broken ({error})") from error
    return read


def gaps_as_trained(values: Tensor, trained: bool | None) -> bool:
    """Whether values may be missing, as the model was trained with; as they are where that is None.

    Raises:
        DataError: some are missing, and the model knows no missing values.
    """
    missing = values.isnan()
    if trained is False and missing.any():
        example = int(missing.flatten(1).any(1).nonzero()[0])
        raise DataError(f"example {example} has a missing value, and the model was trained on data without any")
    return bool(missing.any()) if trained is None else trained
