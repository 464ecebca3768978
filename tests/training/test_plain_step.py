"""The inner step of an optimizer is its step, and is taken only where nothing else hangs on the outer one."""

from typing import Any

import pytest
import torch
from torch.optim import LBFGS, SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, NAdam, Optimizer, RAdam, RMSprop
from torch.optim.optimizer import register_optimizer_step_pre_hook

from vaelab.training.plain_step import clear_gradients, needs_closure, plain_step


def taken(kind: type[Optimizer], plain: bool, steps: int = 4, **settings: Any) -> tuple[list[torch.Tensor], bool]:
    """Weights after some steps, and whether all but the first went the inner way."""
    draw = torch.Generator().manual_seed(0)
    weights = [torch.randn(size, generator=draw).requires_grad_() for size in ((4, 3), (5,), (2,))]
    optimizer = kind(weights, lr=0.1, **settings)  # type: ignore[call-arg]
    inner = []
    for _ in range(steps):
        clear_gradients(optimizer)
        for weight in weights[:-1]:  # the last never has a gradient
            weight.grad = torch.randn(weight.shape, generator=draw)
        step = plain_step(optimizer) if plain else optimizer.step
        inner.append(step != optimizer.step)
        step()
    return weights, inner[1:] == [True] * (steps - 1)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Adam, {"fused": True, "weight_decay": 0.1}),
        (AdamW, {"fused": True, "amsgrad": True}),
        (AdamW, {"foreach": True, "maximize": True}),
        (SGD, {"momentum": 0.9, "nesterov": True}),
        *((kind, {}) for kind in (Adadelta, Adagrad, Adamax, NAdam, RAdam, RMSprop)),
    ],
)
def test_inner_step_does_what_step_does(kind: type[Optimizer], settings: dict[str, Any]) -> None:
    ours, inner = taken(kind, True, **settings)
    theirs, _ = taken(kind, False, **settings)
    assert inner
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert not any(weight.requires_grad and weight.grad_fn for weight in ours)


class Own(SGD):
    """Somebody's optimizer, with a step and a zero_grad of its own."""

    steps = cleared = 0

    def step(self, closure: Any = None) -> None:
        type(self).steps += 1

    def zero_grad(self, set_to_none: bool = True) -> None:
        type(self).cleared += 1


def test_optimizers_of_others_are_asked() -> None:
    Own.steps = Own.cleared = 0
    taken(Own, True, momentum=0.9)
    assert (Own.steps, Own.cleared) == (4, 4)


@pytest.mark.parametrize("everywhere", [False, True])
def test_hooks_are_called(everywhere: bool) -> None:
    weight = torch.ones(3, requires_grad=True)
    optimizer = Adam([weight])
    weight.grad = torch.ones(3)
    optimizer.step()
    seen: list[Optimizer] = []
    add = register_optimizer_step_pre_hook if everywhere else optimizer.register_step_pre_hook
    handle = add(lambda *arguments: seen.append(arguments[0]))
    plain_step(optimizer)()
    handle.remove()
    assert seen == [optimizer]


def test_differentiable_steps_stay_differentiable() -> None:
    weight = torch.ones(3, requires_grad=True)
    optimizer = SGD([weight.clone()], lr=0.1, momentum=0.9, differentiable=True)
    optimizer.state[weight] = {}
    assert plain_step(optimizer) == optimizer.step


def test_lbfgs_evaluates_the_objective_itself() -> None:
    weights = [torch.ones(3, requires_grad=True)]
    assert needs_closure(LBFGS(weights))
    assert not needs_closure(Adam(weights))
    assert not needs_closure(Own(weights))
