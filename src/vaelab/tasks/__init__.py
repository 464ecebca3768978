"""What a run is for: which metrics, which figures, which number decides the best checkpoint."""

from vaelab.tasks.anomaly import Anomaly
from vaelab.tasks.compression import Compression
from vaelab.tasks.denoising import Denoising
from vaelab.tasks.embedding import Embedding
from vaelab.tasks.generation import Generation
from vaelab.tasks.task import Findings, Task

__all__ = ["Anomaly", "Compression", "Denoising", "Embedding", "Findings", "Generation", "Task"]
