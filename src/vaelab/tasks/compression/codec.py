"""What is lost through a code, and how many bits the code costs."""

from collections.abc import Callable
from math import isfinite
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vaelab.core import Batch, DataSpec
from vaelab.data.module import DataModule
from vaelab.data.plain import squared_error_of_each
from vaelab.evaluation.active_units import VARIANCE
from vaelab.evaluation.baselines import PCA
from vaelab.evaluation.image_metrics import each_example
from vaelab.models import Model
from vaelab.tasks.compression.quantiser import UniformQuantiser, code_length, counts, entropy, fit_range

BITS = range(2, 9)  # of one quantised dimension
QUANTILES = (5, 50, 95)  # per cent
RANGE_EXAMPLES = 10_000  # training codes that ranges and tables are fitted on, at the most


class Codec(NamedTuple):
    """An encoder and a decoder, a trained model's or a baseline's.

    Attributes:
        encode: a batch to `(B, size)`.
        decode: the way back; it takes the batch too, whose labels a model may be given.
        size: numbers in a code.
        device: where both run.
        has_prior: whether codes are scaled to a standard normal prior, so that a dimension whose
            variance is next to nothing is one that the encoder does not use.
    """

    encode: Callable[[Batch], Tensor]
    decode: Callable[[Tensor, Batch], Tensor]
    size: int
    device: torch.device
    has_prior: bool = False


class Quantised(NamedTuple):
    """One point of rate and distortion.

    Attributes:
        fixed: bits of one example, all indices of one length.
        entropy: bits of one example under tables that are right for the test split, a lower bound.
        coded: bits of one example under tables of the training split, what an ideal coder spends.
        mse: mean over the values of all test examples.
    """

    fixed: float
    entropy: float
    coded: float
    mse: float


def of_model(model: Model) -> Codec:
    """The codec that a trained model is, at its posterior means."""

    def encode(batch: Batch) -> Tensor:
        return model.encode(batch.target, model.condition_of(batch))

    def decode(codes: Tensor, batch: Batch) -> Tensor:
        return model.decode(codes, model.condition_of(batch))

    return Codec(encode, decode, model.latent.size, model.device, model.has_rate)


def of_pca(fitted: PCA, size: int) -> Codec:
    """The codec that principal components are."""
    return Codec(
        lambda batch: fitted.encode(batch.target), lambda codes, batch: fitted.decode(codes), size, torch.device("cpu")
    )


def distortions(codec: Codec, data: DataModule) -> dict[str, Tensor]:
    """mse, psnr and ssim of each test example through the unquantised code: `(N,)` on the CPU."""
    found: dict[str, list[Tensor]] = {}
    for batch in data.batches("test", codec.device):
        each = each_example(codec.decode(codec.encode(batch), batch), batch.clean, data.spec)
        for name, values in each.items():
            found.setdefault(name, []).append(values.cpu())
    return {name: torch.cat(values) for name, values in found.items()}


def quantised(codec: Codec, data: DataModule, tail: float) -> dict[int, Quantised]:
    """The test split through codes of 2 to 8 bits a dimension, by their bits.

    Args:
        codec: whose codes are quantised.
        data: its training split gives ranges and tables.
        tail: see `fit_range`.
    """
    known = _train_codes(codec, data)
    kept = known.var(0, correction=0) > VARIANCE if codec.has_prior else None
    low, high = fit_range(known, tail, kept)
    quantisers = {bits: UniformQuantiser(low, high, bits) for bits in BITS}
    squares = {bits: torch.zeros(2, dtype=torch.float64) for bits in BITS}
    codes = []
    for batch in data.batches("test", codec.device):
        code = codec.encode(batch)
        codes.append(code)
        for bits, quantiser in quantisers.items():
            squares[bits] += squared_error(codec.decode(quantiser(code), batch), batch, data.spec)
    written = torch.cat(codes)
    return {bits: _rate(quantiser, written, known, mean_of(squares[bits])) for bits, quantiser in quantisers.items()}


def _train_codes(codec: Codec, data: DataModule) -> Tensor:
    """Of the first examples of the training split, which is shuffled; `(N, size)`."""
    codes: list[Tensor] = []
    for batch in data.batches("train", codec.device):
        codes.append(codec.encode(batch))
        if sum(map(len, codes)) >= RANGE_EXAMPLES:
            break
    return torch.cat(codes)[:RANGE_EXAMPLES]


def _rate(quantiser: UniformQuantiser, written: Tensor, known: Tensor, mse: float) -> Quantised:
    occurrences, before = (
        counts(quantiser.indices(codes)[:, quantiser.varies], quantiser.bits) for codes in (written, known)
    )
    return Quantised(quantiser.fixed_length, entropy(occurrences), code_length(occurrences, before), mse)


def squared_error(reconstruction: Tensor, batch: Batch, spec: DataSpec) -> Tensor:
    """Mean squared errors of examples that have any number, summed over a batch, and how many these are.

    `(2,)` float64 on the CPU: not every accelerator has double precision.
    """
    each = squared_error_of_each(reconstruction, batch.clean, spec).cpu().double()
    return torch.stack([each.nansum(), (~each.isnan()).double().sum()])


def mean_of(total: Tensor) -> float:
    """The mean over examples of what `squared_error` gives, added up over batches."""
    return float(total[0] / total[1])


def distribution(each: dict[str, Tensor]) -> dict[str, float]:
    """`mse_quantile_05`, `_50` and `_95`, and so on: what 5, 50 and 95 % of examples do not exceed.

    A quantile is the value of an example, none between two; examples without a number have none.
    """
    found = {
        f"{name}_quantile_{percent:02}": float(np.nanquantile(values.numpy(), percent / 100, method="inverted_cdf"))
        for name, values in each.items()
        for percent in QUANTILES
    }
    return {name: value for name, value in found.items() if isfinite(value)}


def means(each: dict[str, Tensor]) -> dict[str, float]:
    """The mean over examples by name; examples without a number do not count."""
    found = {name: float(values.double().nanmean()) for name, values in each.items()}
    return {name: value for name, value in found.items() if isfinite(value)}


def rates(points: dict[int, Quantised]) -> dict[str, float]:
    """`mse_4bit`, `bits_out_4bit`, `bits_entropy_4bit`, `bits_coded_4bit`, and so on."""
    numbers: dict[str, float] = {}
    for bits, point in points.items():
        numbers[f"mse_{bits}bit"] = point.mse
        numbers[f"bits_out_{bits}bit"] = point.fixed
        numbers[f"bits_entropy_{bits}bit"] = point.entropy
        numbers[f"bits_coded_{bits}bit"] = point.coded
    return numbers
