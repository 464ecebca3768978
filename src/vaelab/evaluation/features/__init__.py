"""Feature extractors, in whose features sets of examples are compared."""

from vaelab.evaluation.features.choice import EXTRACTORS, Choice, ExtractorName, refuse_absent
from vaelab.evaluation.features.extractor import Extractor

__all__ = ["EXTRACTORS", "Choice", "Extractor", "ExtractorName", "refuse_absent"]
