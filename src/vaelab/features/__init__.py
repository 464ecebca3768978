"""What turns examples into features, between which sets of examples are compared."""

from vaelab.features.choice import EXTRACTORS, Choice, ExtractorName, refuse_absent
from vaelab.features.extractor import Extractor

__all__ = ["EXTRACTORS", "Choice", "Extractor", "ExtractorName", "refuse_absent"]
