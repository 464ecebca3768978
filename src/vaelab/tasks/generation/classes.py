"""Whether samples drawn for a label belong to its class."""

from typing import Any

import torch

from vaelab.data.module import DataModule
from vaelab.evaluation.distances import frechet_distance
from vaelab.evaluation.features.classifier import Classifier
from vaelab.evaluation.sources import Source, generate
from vaelab.tasks.task import Findings

PER_CLASS, FEWEST, MOST_CLASSES = 500, 20, 100  # samples per class, least test examples per class, classes at most


def measure_classes(
    found: Findings, source: Source, data: DataModule, classifier: Classifier, about: dict[str, Any], suffix: str = ""
) -> None:
    """Add `label_accuracy`, the share of samples that a classifier assigns to their label, and the fid of each class.

    Args:
        found: the findings to add to.
        source: draws the samples.
        data: its test split is compared with, for the fid of each class.
        classifier: trained on the labels of the data.
        about: metadata of the numbers.
        suffix: appended to the metric names.
    """
    model, label = source.model, data.labels("test")
    names = {number: data.spec.classes[number] for number in source.shown_labels[:MOST_CLASSES]}
    right = 0
    for number, name in names.items():
        labels = torch.full((PER_CLASS,), number, device=model.device)
        samples = [part.clamp(0, 1) if data.spec.bounded else part for part in generate(
            model, source.codes(PER_CLASS, seed=number, labels=labels), labels
        )]  # fmt: skip
        right += sum(int((classifier.classes(part) == number).sum()) for part in samples)
        places = (label == number).nonzero().flatten()
        if len(places) >= FEWEST:
            real = classifier.extract(iter(data.clean("test", places).split(512)))
            value = frechet_distance(real, classifier.extract(iter(samples)))
            found.numbers[f"test/fid_class_{name}{suffix}"] = value
            found.metadata[f"test/fid_class_{name}{suffix}"] = about | {
                "real": f"{len(places)} test examples of the class"
            }
    found.numbers[f"test/label_accuracy{suffix}"] = right / (PER_CLASS * len(names))
    found.metadata[f"test/label_accuracy{suffix}"] = {
        "codes from": source.title,
        "classified by": "the classifier of features",
        "its test accuracy": classifier.about["test_accuracy"],
        "samples": f"{PER_CLASS} of each class",
    }
