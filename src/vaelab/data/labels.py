"""Labels as users write them."""

from collections.abc import Sequence
from math import isfinite

import torch
from torch import Tensor

from vaelab.errors import ConfigError


def label_numbers(
    chosen: Sequence[str | int], classes: Sequence[str], label: Tensor, trained: int | None = None
) -> list[int]:
    """Return the indices of the chosen labels.

    An entry is the name of a class or, if no class has that name, the index of one. So `[3]` is the class called 3 if
    there is one, and else the fourth class.

    Args:
        chosen: `data.normal`.
        classes: class names by index; empty if labels have no names.
        label: `(N,)` of all examples, -1 for no label.
        trained: how many of the classes, the first ones, a trained model knows: a number means one of these. None
            where a model is trained.

    Raises:
        ConfigError: an entry is neither a name nor an index, or there are no labels.
    """
    known = classes or [str(number) for number in range(int(label.max()) + 1)]
    if not known:
        raise ConfigError(
            "data.normal: the data have no labels; data.label=<column> names them (images take theirs from a folder "
            "for each class). Without data.normal, task=anomaly treats all examples as normal"
        )
    if not chosen:
        raise ConfigError(f"data.normal=[]: names no label; {_known(known)}")
    numbers = []
    for entry in chosen:
        meant = known[:trained] if isinstance(entry, int) else known
        if str(entry) in meant:
            numbers.append(meant.index(str(entry)))
        elif isinstance(entry, int) and 0 <= entry < len(meant):
            numbers.append(entry)
        else:
            raise ConfigError(f"data.normal={entry}: no such label; {_known(known)}")
    return numbers


def drawn_by_class(label: Tensor, count: int, seed: int) -> Tensor:
    """Draw `count` labelled examples, balanced over classes; return their ascending rows `(count,)` int64.

    If the count is not a multiple of the classes, randomly chosen classes have one more. A class with too few examples
    gives all that it has, and the others give more.

    Args:
        label: `(N,)`, -1 where there is none.
        count: `data.labelled`.
        seed: of the draw.

    Raises:
        ConfigError: there are no labels, fewer labels than `count`, or more classes.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(label), generator=generator)
    order = order[label[order] >= 0]
    found, group, sizes = label[order].unique(return_inverse=True, return_counts=True)
    if not len(found):
        raise ConfigError(f"data.labelled={count}: the examples of the train split have no labels; leave it out")
    if count > len(order):
        raise ConfigError(
            f"data.labelled={count}: the train split has {len(order)} examples with a label; use a smaller number, or "
            "leave it out"
        )
    if count < len(found):
        raise ConfigError(
            f"data.labelled={count}: the train split has {len(found)} classes, of which each needs an example; "
            f"should be at least {len(found)}"
        )
    rank = torch.randperm(len(found), generator=generator)  # who has one more, where the count leaves a rest
    by_class = group.argsort(stable=True)
    turn = torch.empty_like(group)
    turn[by_class] = torch.arange(len(group)) - (sizes.cumsum(0) - sizes)[group[by_class]]
    return order[(turn * len(found) + rank[group]).argsort()][:count].sort().values


def renumbered(label: Tensor, classes: Sequence[str], trained: Sequence[str]) -> tuple[Tensor, tuple[str, ...]]:
    """Convert labels to the indices of classes in training; new classes follow after those.

    Args:
        label: `(N,)` numbers of `classes`, -1 where there is none.
        classes: in the order of their own data; the same number, such as 1 and 1.0, is the same class.
        trained: in the order of training.
    """
    exact = {name: number for number, name in enumerate(trained)}
    equal = {_number(name): number for number, name in reversed([*enumerate(trained)])}
    found = {name: exact.get(name, equal.get(_number(name)) if _number(name) is not None else None) for name in classes}
    new = [name for name in classes if found[name] is None]
    found |= {name: number for number, name in enumerate(new, len(trained))}
    return torch.tensor([*(found[name] for name in classes), -1])[label], (*trained, *new)


def _number(name: str) -> float | None:
    try:
        number = float(name)
    except ValueError:
        return None
    return number if isfinite(number) else None


def natural(text: str) -> tuple[bool, float, str]:
    """The order of class names: numbers by their size, before other texts."""
    try:
        return False, float(text), text
    except ValueError:
        return True, 0.0, text


def _known(classes: Sequence[str], most: int = 40) -> str:
    """The classes in their order."""
    return "known here: " + ", ".join(classes[:most]) + (", ..." if len(classes) > most else "")
