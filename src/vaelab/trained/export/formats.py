"""Write a program as ONNX or with `torch.export`, read it back, and measure its difference from the model."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind

from vaelab import __version__
from vaelab.errors import ConfigError

Format = Literal["onnx", "torch"]
SUFFIX: Mapping[str, str] = {"onnx": ".onnx", "torch": ".pt2"}
NEEDED = {"onnx": ("onnx", "onnxruntime", "onnxscript"), "torch": ()}

aten = torch.ops.aten


class NotExportedError(Exception):
    """A program cannot be exported; the message is the reason."""


def refuse_missing(to: Sequence[str]) -> None:
    """Refuse formats whose packages are not installed.

    Raises:
        ConfigError: a package is not installed; the message names it.
    """
    for name in (name for format in to for name in NEEDED[format] if find_spec(name) is None):
        raise ConfigError(f"export: ONNX needs the package {name}; pip install 'vaelab[export]'")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the output of exporters: their errors are exceptions, and their results are checked."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def trace(program: nn.Module, inputs: Mapping[str, Tensor]) -> ExportedProgram:
    """Trace a program to a graph that takes any number of examples.

    Args:
        program: the module, in evaluation mode.
        inputs: a batch of several examples, by the names of its arguments, in their order.

    Raises:
        NotExportedError: it cannot be traced to a graph.
    """
    batch = Dim("batch")
    shapes = {name: {0: batch} for name in inputs}
    try:
        with quiet(), torch.no_grad():
            exported = torch.export.export(program, tuple(inputs.values()), dynamic_shapes=shapes, strict=True)
            return _lean(exported)
    except Exception as error:
        raise NotExportedError(f"torch.export refuses it ({_brief(error)})") from error


def _lean(exported: ExportedProgram) -> ExportedProgram:
    """Remove unused computations, unused weights (an encoder needs no decoder), and paths of this machine."""
    signature, graph = exported.graph_signature, exported.graph
    graph.eliminate_dead_code()
    placeholders = {node.name: node for node in graph.find_nodes(op="placeholder")}
    kept = []
    for spec in signature.input_specs:
        node = placeholders[spec.arg.name]
        if spec.kind in (InputKind.PARAMETER, InputKind.BUFFER) and not node.users:
            graph.erase_node(node)
        else:
            kept.append(spec)
    signature.input_specs = kept
    read = {spec.target for spec in kept}
    for name in [*exported.state_dict]:
        if name not in read:
            del exported.state_dict[name]
    for node in graph.nodes:  # source locations, which contain folders of this machine
        node.meta.pop("stack_trace", None)
    exported.graph_module.recompile()
    return exported


def write(
    exported: ExportedProgram, format: str, path: Path, inputs: Sequence[str], outputs: Sequence[str]
) -> dict[str, Any]:
    """Write a file.

    Args:
        exported: the result of `trace`.
        format: `onnx` or `torch`.
        path: the file.
        inputs, outputs: the names of inputs and outputs.

    Returns:
        A description of the program, as plain data.

    Raises:
        NotExportedError: it cannot be written in this format.
        OSError: the file cannot be written.
    """
    try:
        with quiet():
            if format == "torch":
                torch.export.save(exported, path)
                return {}
            found = torch.onnx.export(
                exported.run_decompositions({aten.cross_entropy_loss.default: _cross_entropy}),
                dynamo=True, verbose=False, input_names=[*inputs], output_names=[*outputs],
            )  # fmt: skip
            assert found is not None
            _strip(found.model)
            found.save(path, external_data=False)
            import onnx

            onnx.checker.check_model(path)
            return {"opset": found.model.opset_imports[""]}
    except OSError:
        raise
    except Exception as error:
        exporter = "the ONNX exporter" if format == "onnx" else "torch.export"
        raise NotExportedError(f"{exporter} refuses it ({_brief(error)})") from error


def _strip(model: Any) -> None:
    """Remove metadata about its creation from a model of `onnx_ir`, and name the batch dimension `batch`."""
    model.producer_name, model.producer_version = "vaelab", __version__
    values = [*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()]
    functions = [node for function in model.functions.values() for node in function]
    symbol = model.graph.inputs[0].shape[0]
    for node in [*model.graph.all_nodes(), *functions]:
        node.metadata_props.clear()
        node.doc_string = None
        values += node.outputs
    for value in values:
        value.metadata_props.clear()
        if value.shape is not None:
            for place, size in enumerate(value.shape):
                if size == symbol and not value.shape.frozen:
                    value.shape[place] = "batch"
    model.graph.metadata_props.clear()
    model.metadata_props.clear()


def _cross_entropy(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: int = 1,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    """`cross_entropy_loss` of each value, as all likelihoods use it: the form of ONNX has a wrong shape."""
    if weight is not None or reduction != 0 or label_smoothing:
        raise NotImplementedError("cross entropy with weights, a reduction or smoothing")
    return -logits.log_softmax(1).gather(1, target.unsqueeze(1)).squeeze(1)


def _brief(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = lines[0] if lines else ""
    cause = error.__cause__
    if told.startswith("Failed to") and cause is not None and str(cause).strip():
        told = str(cause).strip().splitlines()[0]
    return f"{type(error).__name__}: {told}"[:300]


class Reloaded:
    """An exported file, loaded as users load it.

    Args:
        path: the file.
        format: `onnx` or `torch`.
    """

    def __init__(self, path: Path, format: str) -> None:
        self._onnx = format == "onnx"
        with quiet():
            if self._onnx:
                import onnxruntime

                options = onnxruntime.SessionOptions()
                options.log_severity_level = 4
                self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            else:
                self._module = torch.export.load(path).module()

    def __call__(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Return its outputs for a batch."""
        if self._onnx:
            given = {name: values.numpy() for name, values in inputs.items()}
            return [torch.from_numpy(values) for values in self._session.run(None, given)]
        with torch.no_grad():
            found = self._module(*inputs.values())
        return [*found] if isinstance(found, tuple) else [found]


def difference(found: Tensor, expected: Tensor, unit: Tensor, large: Tensor) -> float:
    """Return the largest difference in units of the model; relative to the value where that is above 1.

    Args:
        found, expected: `(N, ...)` outputs of a program and of the model.
        unit: the size of one unit of the model in their unit.
        large: `(N, ...)` the values in units of the model; for boolean outputs, which of them must be equal.
    """
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return float("inf")
    if expected.dtype == torch.bool:
        return float("inf") if bool(((found != expected) & large).any()) else 0.0
    if not expected.is_floating_point():
        return 0.0 if torch.equal(found, expected) else float("inf")
    size = large.double().abs().nan_to_num(1.0, 1.0, 1.0).clamp(min=1)
    apart = (found.double() - expected.double()).abs() / unit.double() / size
    same = (found == expected) | (found.isnan() & expected.isnan())
    return float(torch.where(same, 0.0, apart.nan_to_num(float("inf"))).max())
