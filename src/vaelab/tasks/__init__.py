"""What a run is for: which metrics, which figures, which number decides the best checkpoint."""

from vaelab.tasks.anomaly.task import Anomaly
from vaelab.tasks.compression.task import Compression
from vaelab.tasks.denoising.task import Denoising
from vaelab.tasks.disentanglement.task import Disentanglement
from vaelab.tasks.embedding.task import Embedding
from vaelab.tasks.generation.task import Generation
from vaelab.tasks.task import Findings, Task

__all__ = ["Anomaly", "Compression", "Denoising", "Disentanglement", "Embedding", "Findings", "Generation", "Task"]
