"""Which examples are trained on, validated on and tested on."""

import torch
from torch import Tensor

from vaelab.data.examples import Examples
from vaelab.errors import DataError


def split(
    examples: Examples, normal: Tensor | None, val_fraction: float, test_fraction: float, seed: int
) -> dict[str, Tensor]:
    """Rows of train, validation and test by name, int64; the last two in their order.

    Validation is the last part of a shuffle of what is not test. A test split that the set does not have is cut
    from that shuffle first, and takes all that is not normal.

    Args:
        examples: with the splits that the set has of its own.
        normal: `(N,)` bool, what train and validation are restricted to; None for everything. Examples without
            a label are then not tested on, since nobody knows what they are.
        val_fraction: of what is not test.
        test_fraction: of all that is normal.
        seed: of the shuffle.

    Raises:
        DataError: a split would be empty, or the set has splits of its own, of which none is train.
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
