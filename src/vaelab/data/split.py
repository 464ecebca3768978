"""Split examples into train, validation and test."""

import torch
from torch import Tensor

from vaelab.data.examples import Examples
from vaelab.errors import DataError


def split(
    examples: Examples, normal: Tensor | None, val_fraction: float, test_fraction: float, seed: int
) -> dict[str, Tensor]:
    """Return the rows of train, validation and test by name, int64; the last two in ascending order.

    Validation is the last part of a shuffle of all examples outside test. If the set has no test split, one is cut from
    that shuffle first, and it also gets all examples that are not normal.

    Args:
        examples: the examples, with the set's own splits.
        normal: `(N,)` bool, the examples that train and validation are restricted to; None for all. Examples without
            a label are then excluded from the test split, since it is unknown whether they are normal.
        val_fraction: the share of examples outside test.
        test_fraction: the share of all normal examples.
        seed: the seed of the shuffle.

    Raises:
        DataError: a split would be empty, or the set has its own splits, but no train split.
    """
    if "train" not in examples.splits:
        raise DataError(f"{examples.spec.name}: has no train split, only {', '.join(examples.splits)}")
    own = {name: torch.arange(rows.start, rows.stop) for name, rows in examples.splits.items()}
    generator = torch.Generator().manual_seed(seed)
    order = own["train"][torch.randperm(len(own["train"]), generator=generator)]
    if "test" in own:
        test, rest = own["test"], order
    else:
        usual, unusual = (order, order[:0]) if normal is None else (order[normal[order]], order[~normal[order]])
        cut = round(len(usual) * test_fraction)
        test, rest = torch.cat([usual[:cut], unusual]), usual[cut:]
    train_size = len(rest) - round(len(rest) * val_fraction)
    val = own.get("val", rest[train_size:])
    train = rest if "val" in own else rest[:train_size]
    if normal is not None:
        train, val, test = train[normal[train]], val[normal[val]], test[examples.label[test] >= 0]
    rows = {"train": train, "val": val.sort().values, "test": test.sort().values}
    for name, index in rows.items():
        if len(index) == 0:
            raise DataError(
                f"{examples.spec.name}: {len(examples.values)} examples leave none for the {name} split; "
                "add examples, or change data.val_fraction and data.test_fraction"
            )
    return rows
