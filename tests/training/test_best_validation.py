"""The numbers that are kept belong to the best validation pass."""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn

from vaelab.training.best_validation import BestValidation, finite


def trainer(sanity: bool = False, **metrics: float) -> SimpleNamespace:
    values = {name.replace("_", "/", 1): torch.tensor(value) for name, value in metrics.items()}
    state = SimpleNamespace(fn=TrainerFn.FITTING)
    return SimpleNamespace(sanity_checking=sanity, state=state, callback_metrics=values)


def after(best: BestValidation, *passes: tuple[float, float]) -> dict[str, float]:
    for watched, other in passes:
        best.on_validation_end(trainer(val_elbo=watched, val_mse=other), None)
    return best.numbers


@pytest.mark.parametrize(
    ("monitor", "mode", "expected"), [("val/elbo", "max", (-5.0, 0.3)), ("val/mse", "min", (-9.0, 0.1))]
)
def test_all_numbers_are_of_the_pass_in_which_the_watched_one_was_best(monitor, mode, expected) -> None:
    numbers = after(BestValidation(monitor, mode), (-9.0, 0.2), (-5.0, 0.3), (-9.0, 0.1), (-6.0, 0.2))
    assert numbers == {"val/elbo": pytest.approx(expected[0]), "val/mse": pytest.approx(expected[1])}


def test_a_watched_number_that_is_none_never_wins_for_good() -> None:
    nan = float("nan")
    assert after(BestValidation("val/elbo", "max"), (nan, 0.2), (-9.0, 0.3), (nan, 0.1))["val/mse"] == pytest.approx(
        0.3
    )


def test_the_sanity_pass_before_training_does_not_count() -> None:
    best = BestValidation("val/elbo", "max")
    best.on_validation_end(trainer(sanity=True, val_elbo=100.0), None)
    assert after(best, (-9.0, 0.3))["val/elbo"] == pytest.approx(-9)


def test_a_resumed_run_keeps_the_best_so_far() -> None:
    first, resumed = BestValidation("val/elbo", "max"), BestValidation("val/elbo", "max")
    after(first, (-5.0, 0.3))
    resumed.load_state_dict(first.state_dict())
    assert after(resumed, (-6.0, 0.2))["val/elbo"] == pytest.approx(-5)


def test_train_numbers_are_added_at_the_end() -> None:
    best = BestValidation("val/elbo", "max")
    after(best, (-5.0, 0.3))
    best.on_train_end(trainer(train_loss=4.0, val_elbo=-8.0), None)
    assert best.numbers["train/loss"] == pytest.approx(4)
    assert best.numbers["val/elbo"] == pytest.approx(-5)


def test_only_finite_numbers_are_written() -> None:
    given = {"val/a": torch.tensor(1.0), "val/b": float("nan"), "val/c": float("inf"), "train/a": 2.0}
    assert finite(given) == {"val/a": 1.0, "train/a": 2.0}
    assert finite(given, "val/") == {"val/a": 1.0}
