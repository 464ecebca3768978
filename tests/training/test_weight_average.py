"""The average of weights is the one computed by hand, step by step."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vaelab.backbones import MLPDecoder, MLPEncoder
from vaelab.core import DataSpec
from vaelab.likelihoods import Gaussian
from vaelab.models import AE, Phase
from vaelab.training.weight_average import Averaging, WeightAverage, averaged_names, in_evaluation

SPEC = DataSpec("stripes", "image", (1, 4, 4), "unit", 17)


class Criticised(AE):
    """An autoencoder with a critic that has a phase of its own, and one weight under two names."""

    extra_phases = (Phase("critic", ("critic",)),)

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.critic, self.again = nn.Linear(2, 1), self.decoder


def model() -> Criticised:
    torch.manual_seed(0)
    likelihood = Gaussian(SPEC, 0.5)
    encoder, decoder = MLPEncoder(SPEC.shape, 2, [3], "relu"), MLPDecoder(2, likelihood.raw_shape, [3], "relu")
    return Criticised(encoder, decoder, likelihood, 2)


def by_hand(seen: list[Tensor], decay: float, start: int, every: int) -> Tensor:
    """The average of weights `seen` after 0, 1, 2, ... steps, in double precision."""
    average = seen[start].double()
    for step in range(start + every, len(seen), every):
        age = step - every - start
        kept = min(decay, (1 + age) / (10 + age)) ** every
        average = kept * average + (1 - kept) * seen[step].double()
    return average


def trained(averaging: Averaging, steps: int, kind: torch.dtype = torch.float32) -> tuple[WeightAverage, list[Tensor]]:
    """An average after `steps` random steps, and the first weight after each of them."""
    found = model().to(kind)
    average, seen = WeightAverage(found, averaging), []
    for step in range(steps + 1):
        if step:
            with torch.no_grad():
                for weight in found.parameters():
                    weight += 0.1 * torch.randn_like(weight)
        average.update(step)
        average.update(step)  # whoever looks at an average has it counted once more
        seen.append(next(found.encoder.parameters()).detach().clone())
    return average, seen


@pytest.mark.parametrize(("start", "every"), [(0, 1), (0, 3), (4, 1), (5, 4)])
@pytest.mark.parametrize("decay", [0.5, 0.9])
def test_it_is_the_average_by_hand(decay: float, start: int, every: int) -> None:
    average, seen = trained(Averaging(decay, start, every), 30)
    value = next(iter(average.state(30)["weights"].values()))
    torch.testing.assert_close(value.double(), by_hand(seen, decay, start, every), rtol=1e-5, atol=1e-7)
    assert not torch.allclose(value, seen[-1], atol=1e-3)


@pytest.mark.parametrize(("start", "every"), [(0, 1), (3, 2)])
def test_weights_that_do_not_move_are_their_average(start: int, every: int) -> None:
    still = model()
    average = WeightAverage(still, Averaging(0.9, start, every))
    for step in range(20):
        average.update(step)
    for name, value in average.state(20)["weights"].items():
        assert torch.equal(value, still.state_dict()[name]), name


def test_a_young_average_forgets_its_first_weights() -> None:
    averaging = Averaging(0.999, 0, 1)
    part = 1.0
    for age in range(100):
        part *= averaging.kept(age, 1)
    assert part < 1e-8  # of the first weights; .999 ** 100 is .905
    assert averaging.kept(10**6, 1) == 0.999
    assert averaging.kept(10**6, 4) == pytest.approx(0.999**4)


def test_the_average_of_half_precision_is_in_single_precision() -> None:
    average, _ = trained(Averaging(0.9, 0, 1), 3, torch.bfloat16)
    assert {value.dtype for value in average.state(3)["weights"].values()} == {torch.float32}
    average, _ = trained(Averaging(0.9, 0, 1), 3, torch.float64)
    assert {value.dtype for value in average.state(3)["weights"].values()} == {torch.float64}


def test_a_model_has_the_average_between_put_in_and_take_out_alone() -> None:
    found = model()
    average = WeightAverage(found, Averaging(0.9, 0, 1))
    average.update(0)
    with torch.no_grad():
        for weight in found.parameters():
            weight += 1
    average.update(1)
    before = {name: value.clone() for name, value in found.state_dict().items()}
    averaged = {name: value.clone() for name, value in average.state(1)["weights"].items()}
    with average.inside(), average.inside():
        average.update(2)  # does not count the average itself
        now = found.state_dict()
        for name, value in averaged.items():
            assert torch.equal(now[name], value), name
            assert not torch.equal(now[name], before[name]), name
            assert torch.equal(average.trained()[name], before[name]), name
        assert torch.equal(now["critic.weight"], before["critic.weight"])
    for name, value in found.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_weights_of_later_phases_are_not_averaged_and_one_with_two_names_is_once() -> None:
    found = model()
    names = averaged_names(found)
    assert "critic.weight" not in names
    assert {name for name in found.state_dict() if name.startswith(("encoder.", "decoder.", "again."))} == names
    average = WeightAverage(found, Averaging(0.9, 0, 1))
    average.update(0)
    state = average.state(0)["weights"]
    assert state["decoder.net.0.weight"].data_ptr() == state["again.net.0.weight"].data_ptr()


def test_before_it_begins_the_average_is_the_weights() -> None:
    average, seen = trained(Averaging(0.9, 10, 1), 5)
    state = average.state(5)
    assert not average.begun
    assert state["step"] == 5
    assert torch.equal(next(iter(state["weights"].values())), seen[-1])
    again = WeightAverage(model(), average.averaging)
    again.load_state(state)
    assert not again.begun


def test_an_average_goes_on_from_its_state_bit_for_bit() -> None:
    found = model()
    whole, parts = (WeightAverage(found, Averaging(0.9, 0, 3)) for _ in range(2))
    for step in range(20):
        with torch.no_grad():
            for weight in found.parameters():
                weight += 0.1 * torch.randn_like(weight)
        whole.update(step)
        parts.update(step)
        if step in (7, 9):
            state = parts.state(step)
            parts = WeightAverage(found, Averaging(0.9, 0, 3))
            parts.load_state(state)
    for name, value in whole.state(19)["weights"].items():
        assert torch.equal(parts.state(19)["weights"][name], value), name


def test_it_may_begin_and_go_on_in_inference_mode() -> None:
    found = model()
    average = WeightAverage(found, Averaging(0.9, 0, 1))
    with torch.inference_mode():  # as in the validation pass before the first step
        average.update(0)
        average.put_in()
        average.take_out()
    with torch.no_grad():
        found.get_parameter("encoder.net.1.weight").add_(1)
    average.update(1)
    value = average.state(1)["weights"]["encoder.net.1.weight"]
    weight = found.state_dict()["encoder.net.1.weight"]
    torch.testing.assert_close(value, weight - 0.1)  # kept is 1 / 10


def test_a_checkpoint_without_an_average_is_evaluated_with_its_weights() -> None:
    one, other = torch.ones(2), torch.zeros(2)
    assert in_evaluation({"state_dict": {"a": one}}) == {"a": one}
    found = in_evaluation({"state_dict": {"a": one, "b": one}, "averaged_weights": {"weights": {"a": other}}})
    assert found["a"] is other
    assert found["b"] is one
