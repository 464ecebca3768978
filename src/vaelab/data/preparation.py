"""The preprocessing of a trained model's examples: scales and categories that its run keeps in `model/`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from torch import Tensor

from vaelab.careful_read import brief, read_json
from vaelab.core.spec import DataSpec
from vaelab.errors import CheckpointError, DataError
from vaelab.notes import note

MODEL_FILE = "model.json"  # of every run that came to its end
AT_ONCE = 2**22  # values looked at
MOST_BYTES = 2**28  # of a file: the texts of all categories, and up to a thousand values of each column

T = TypeVar("T")


def read_preparation(path: Path, parse: Callable[[dict[str, Any]], T]) -> T | None:
    """Read the preprocessing that a run stored in its `model/`; None, with a note to the user, if it is missing.

    Raises:
        DataError: it is not JSON, is too large, or has another form than what a run writes.
    """
    if not path.exists():
        note(f"{path} does not exist, so the data are scaled by their own train split, not by that of the checkpoint")
        return None
    try:
        return parse(read_json(path, MOST_BYTES))
    except CheckpointError as error:
        raise DataError(str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise DataError(f"{path}: is broken ({type(error).__name__}: {brief(str(error))})") from error


def trained_spec(folder: Path) -> DataSpec | None:
    """Return the data specification of the model in `folder`, a run's `model/`; None if a killed run left none.

    Raises:
        DataError: the file is no description of a model.
    """
    path = folder / MODEL_FILE
    if not path.is_file():
        return None
    try:
        return DataSpec.from_json(read_json(path)["spec"])
    except CheckpointError as error:
        raise DataError(str(error)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: is broken ({type(error).__name__}: {brief(str(error))})") from error


def recorded_data(run: Path) -> dict[str, Any]:
    """Read the settings under `data` from the `config.yaml` of a run; empty if they cannot be read."""
    try:
        found = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["data"]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def missing_as_trained(values: Tensor, trained: bool | None) -> bool:
    """Whether values may be missing, as in the model's training data; if that is None, whether some are missing.

    Raises:
        DataError: values are missing, but the model was trained without missing values.
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
