"""The distortion of a code, and its rate in bits."""

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

BITS = range(2, 9)  # per quantised dimension
QUANTILES = (5, 50, 95)  # per cent
RANGE_EXAMPLES = 10_000  # training codes at most that ranges and tables are fitted to


class Codec(NamedTuple):
    """An encoder and a decoder: a trained model, or a baseline.

    Attributes:
        encode: maps a batch to codes, `(B, size)`.
        decode: maps codes to examples; it also takes the batch, for the labels of a conditional model.
        size: number of dimensions of a code.
        device: where both run.
        has_prior: whether codes are matched to a standard normal prior. If so, a dimension whose variance is almost
            zero is one that the encoder does not use.
    """

    encode: Callable[[Batch], Tensor]
    decode: Callable[[Tensor, Batch], Tensor]
    size: int
    device: torch.device
    has_prior: bool = False


class Quantised(NamedTuple):
    """One point of rate and distortion.

    Attributes:
        fixed: bits per example with a fixed-length code for each index.
        entropy: bits per example under probability tables of the test split itself, a lower bound.
        coded: bits per example under tables of the training split, the cost of an ideal entropy coder.
        mse: mean over the values of all test examples.
    """

    fixed: float
    entropy: float
    coded: float
    mse: float


def of_model(model: Model) -> Codec:
    """The trained model as a codec, at its posterior means."""

    def encode(batch: Batch) -> Tensor:
        return model.encode(batch.target, model.condition_of(batch))

    def decode(codes: Tensor, batch: Batch) -> Tensor:
        return model.decode(codes, model.condition_of(batch))

    return Codec(encode, decode, model.latent.size, model.device, model.has_rate)


def of_pca(fitted: PCA, size: int) -> Codec:
    """PCA as a codec."""
    return Codec(
        lambda batch: fitted.encode(batch.target), lambda codes, batch: fitted.decode(codes), size, torch.device("cpu")
    )


def distortions(codec: Codec, data: DataModule) -> dict[str, Tensor]:
    """mse, psnr (dB) and ssim of each test example for the unquantised code: `(N,)` on the CPU."""
    found: dict[str, list[Tensor]] = {}
    for batch in data.batches("test", codec.device):
        each = each_example(codec.decode(codec.encode(batch), batch), batch.clean, data.spec)
        for name, values in each.items():
            found.setdefault(name, []).append(values.cpu())
    return {name: torch.cat(values) for name, values in found.items()}


def quantised(codec: Codec, data: DataModule, tail: float) -> dict[int, Quantised]:
    """Rate and distortion of the test split for codes of 2 to 8 bits a dimension, by number of bits.

    Args:
        codec: its codes are quantised.
        data: ranges and tables are fitted to its training split.
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
    """Codes of the first examples of the training split, which is shuffled; `(N, size)`."""
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
    """Sum over a batch of the mean squared errors of examples that have any observed number, and their count.

    `(2,)` float64 on the CPU: not every accelerator has double precision.
    """
    each = squared_error_of_each(reconstruction, batch.clean, spec).cpu().double()
    return torch.stack([each.nansum(), (~each.isnan()).double().sum()])


def mean_of(total: Tensor) -> float:
    """The mean over examples, from sums over batches of the pairs that `squared_error` returns."""
    return float(total[0] / total[1])


def distribution(each: dict[str, Tensor]) -> dict[str, float]:
    """Quantiles over examples: `mse_quantile_05`, `_50` and `_95` for 5, 50 and 95 %, and so on.

    A quantile is the value of an example, without interpolation. Examples without an observed number are left out.
    """
    found = {
        f"{name}_quantile_{percent:02}": float(np.nanquantile(values.numpy(), percent / 100, method="inverted_cdf"))
        for name, values in each.items()
        for percent in QUANTILES
    }
    return {name: value for name, value in found.items() if isfinite(value)}


def means(each: dict[str, Tensor]) -> dict[str, float]:
    """Means over examples by name; examples without an observed number do not count."""
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
