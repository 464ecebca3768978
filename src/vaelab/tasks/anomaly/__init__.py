"""Task anomaly: detection of examples that are unlike normal data."""

from vaelab.tasks.anomaly.task import Anomaly

__all__ = ["Anomaly"]
