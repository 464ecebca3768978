"""A trained model in MLflow's own format: `mlflow.pyfunc.load_model("runs:/<run id>/model").predict(x)`.

MLflow imports this module when it loads such a model. No pickle is read or written.
"""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaelab.record.trackers.contents import SavedModel


def pack(model: SavedModel, folder: Path, run_id: str) -> None:
    """Write the model as a folder that MLflow can load, with a signature and, if available, an input example."""
    # MLflow warns about its own code during this import, and logs that it checks the input example.
    warnings.filterwarnings("ignore", message=".*type hint is inferred as AnyType.*")
    logging.getLogger("mlflow.pyfunc").setLevel(logging.WARNING)
    from mlflow.models import ModelSignature
    from mlflow.pyfunc import save_model
    from mlflow.types import Schema, TensorSpec

    shape = (-1, *model.about_data["shape"])
    spec = TensorSpec(model.example.dtype, shape)
    save_model(
        folder,
        loader_module=__name__,
        data_path=str(model.folder),
        signature=ModelSignature(inputs=Schema([spec]), outputs=Schema([spec])),
        input_example=model.example,
        pip_requirements=["vaelab"],
        metadata={"run_id": run_id, "data": model.data, "fingerprint": model.fingerprint}
        | {key: model.about[key] for key in ("weights",) if key in model.about},
    )


def dataset_of(model: SavedModel) -> Any:
    """Return the data of a run as an MLflow input: name, fingerprint and location, without the data themselves."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    profile = {name: value for name, value in model.about_data.items() if isinstance(value, int)}
    schema = {"mlflow_tensorspec": {"features": json.dumps({"shape": list(model.about_data["shape"])})}}
    dataset = Dataset(
        name=model.data,
        digest=model.fingerprint[:36],
        source_type="local" if model.source else "code",
        source=json.dumps({"uri": model.source} if model.source else {"tags": {}}),
        schema=json.dumps(schema),
        profile=json.dumps(profile),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


class Reconstruction:
    """The object behind `predict` of MLflow's model: it returns reconstructions."""

    def __init__(self, folder: Path) -> None:
        from vaelab.models.saved_model import load_model

        self._model = load_model(folder)

    def predict(self, x: NDArray[Any], params: Any = None) -> NDArray[Any]:
        """Map `x: (B, *shape)`, in the scale of training, to reconstructions of the same shape and type."""
        import torch

        tokens = self._model.likelihood.spec.support == "categories"
        kind = np.int64 if tokens else np.float32
        with torch.no_grad():
            made = self._model.decode(self._model.encode(torch.as_tensor(np.asarray(x, dtype=kind))))
        return made.numpy().astype(kind)


def _load_pyfunc(folder: str) -> Reconstruction:
    """Load the model; MLflow calls this with the folder that contains `model.json` and the weights."""
    return Reconstruction(Path(folder))
