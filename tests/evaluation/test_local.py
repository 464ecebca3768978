"""A score of places: small defects, and errors that are large at some places for every example."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from vaelab.core import DataSpec
from vaelab.evaluation.scores.local import Local
from vaelab.evaluation.scores.scores import Reconstruction

SPEC = DataSpec("plates", "image", (3, 20, 20), "unit")


def plain_grey() -> Any:
    """A model that reconstructs every image as grey."""
    likelihood = SimpleNamespace(spec=SPEC)
    grey = torch.full((1, *SPEC.shape), 0.5)
    return SimpleNamespace(
        device="cpu", likelihood=likelihood, encode=Tensor.clone, decode=lambda z: grey.expand(len(z), -1, -1, -1)
    )


def plates(count: int, seed: int = 0) -> Tensor:
    """Grey with little noise everywhere, and much of it in the left half."""
    noise = torch.randn(count, *SPEC.shape, generator=torch.Generator().manual_seed(seed))
    noise[..., :10] *= 10
    return 0.5 + 0.02 * noise


def fitted(count: int = 200) -> Local:
    score = Local(SPEC)
    score.fit(plain_grey(), iter(plates(count).split(32)))
    return score


def test_a_small_defect_is_found_whose_error_is_lost_in_the_whole() -> None:
    normal = plates(200, seed=1)
    defect = normal[:1].clone()
    defect[..., 4:6, 15:17] += 0.2
    whole, local = Reconstruction(), fitted()
    model = plain_grey()
    assert whole(model, defect) < whole(model, normal).max()
    assert local(model, defect) > local(model, normal).max()
    place = local.where(model, defect)[0]
    row, column = divmod(int(place.argmax()), 20)
    assert 3 <= row <= 6
    assert 14 <= column <= 17


def test_an_error_counts_by_what_is_usual_at_its_place() -> None:
    """The same spot is nothing on the noisy side and a defect on the quiet one."""
    model, local = plain_grey(), fitted()
    noisy, quiet = plates(1, seed=3), plates(1, seed=3)
    noisy[..., 8:11, 3:6] += 0.15
    quiet[..., 8:11, 13:16] += 0.15
    assert local(model, quiet) > local(model, noisy) + 1


def test_scores_of_training_examples_are_standardised_at_each_place() -> None:
    model, local = plain_grey(), fitted(400)
    where = local.where(model, plates(400))
    assert where.mean(0).abs().max() < 1e-4
    assert 0.5 < where.std(0).mean() < 1.05


def test_images_smaller_than_the_surroundings_and_a_single_example_have_finite_scores() -> None:
    tiny = DataSpec("tiny", "image", (1, 2, 2), "unit")
    model = plain_grey()
    model.decode = lambda z: torch.zeros(len(z), 1, 2, 2)
    score = Local(tiny)
    score.fit(model, iter([torch.rand(1, 1, 2, 2)]))
    assert score(model, torch.rand(3, 1, 2, 2)).isfinite().all()
