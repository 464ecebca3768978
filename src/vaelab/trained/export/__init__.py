"""Export a trained model to programs that run without vaelab: ONNX and `torch.export`."""

from vaelab.trained.export.export import EXPORT, FORMATS, PARTS, export

__all__ = ["EXPORT", "FORMATS", "PARTS", "export"]
