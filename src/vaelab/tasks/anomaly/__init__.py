"""What is unlike normal data."""

from vaelab.tasks.anomaly.task import Anomaly

__all__ = ["Anomaly"]
