"""A quantised code against what is known of uniform quantisers and of ideal coders."""

from math import log2

import pytest
import torch

from vaelab.tasks.compression.quantiser import UniformQuantiser, code_length, counts, entropy, fit_range


def codes(count: int = 4000, size: int = 3) -> torch.Tensor:
    """Normal numbers, each dimension with a place and a width of its own."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, size, generator=generator) * torch.tensor([0.01, 1.0, 50.0]) + torch.arange(3) * 7.0


@pytest.mark.parametrize("bits", range(1, 9))
def test_inside_the_range_the_error_is_at_most_half_a_cell(bits: int) -> None:
    z = codes()
    low, high = fit_range(z, tail=0.01)
    quantiser = UniformQuantiser(low, high, bits)
    inside = (z >= low) & (z <= high)
    assert 0.97 < inside.float().mean() < 0.99
    error = (quantiser(z) - z).abs()
    assert torch.all((error <= (high - low) / 2**bits / 2 * 1.001)[inside])
    assert quantiser.indices(z).unique().tolist() == list(range(2**bits))


def test_the_error_falls_to_a_quarter_with_each_bit() -> None:
    """Squared, for numbers spread evenly: a cell of width w costs w^2 / 12."""
    z = torch.linspace(0, 1, 100_001).unsqueeze(1)
    error = [(UniformQuantiser(torch.zeros(1), torch.ones(1), b)(z) - z).square().mean().item() for b in range(1, 9)]
    assert error == pytest.approx([4.0**-bits / 12 for bits in range(1, 9)], rel=1e-2)


def test_what_lies_outside_goes_to_the_outermost_cell() -> None:
    quantiser = UniformQuantiser(torch.zeros(1), torch.ones(1), 2)
    assert quantiser.indices(torch.tensor([[-9.0], [0.0], [0.49], [1.0], [1e9]])).flatten().tolist() == [0, 0, 1, 3, 3]
    assert quantiser(torch.tensor([[-9.0], [1e9]])).flatten().tolist() == [0.125, 0.875]


def test_quantising_twice_changes_nothing() -> None:
    z = codes()
    quantiser = UniformQuantiser(*fit_range(z, 0.001), 5)
    assert torch.equal(quantiser.indices(quantiser(z)), quantiser.indices(z))


def test_a_constant_dimension_is_exact_and_costs_nothing() -> None:
    z = torch.stack([torch.full((50,), 3.7), torch.linspace(-1, 1, 50)], dim=1)
    quantiser = UniformQuantiser(*fit_range(z, 0.0), 4)
    assert torch.equal(quantiser(z)[:, 0], z[:, 0])
    assert quantiser.varies.tolist() == [False, True]
    assert quantiser.fixed_length == 4


def test_a_dimension_that_is_not_kept_becomes_its_mean() -> None:
    z = codes()
    low, high = fit_range(z, 0.0, kept=torch.tensor([False, True, True]))
    assert low[0] == high[0] == z[:, 0].mean()
    assert torch.all(low[1:] == z.min(0).values[1:])
    assert torch.all(high[1:] == z.max(0).values[1:])


@pytest.mark.parametrize("tail", [0.0, 0.001, 0.05])
def test_the_range_leaves_out_its_share_at_both_ends(tail: float) -> None:
    z = codes()
    low, high = fit_range(z, tail)
    for outside in ((z < low), (z > high)):
        assert outside.float().mean(0).tolist() == pytest.approx([tail] * 3, abs=1 / 4000)


# Bits


def test_entropy_is_that_of_shannon() -> None:
    indices = torch.tensor([[0, 1], [0, 1], [0, 1], [3, 1]])
    assert entropy(counts(indices, 2)) == pytest.approx(-0.75 * log2(0.75) - 0.25 * log2(0.25))
    evenly = torch.arange(64).unsqueeze(1).repeat(1, 3)
    assert entropy(counts(evenly, 6)) == pytest.approx(18)


@pytest.mark.parametrize("bits", range(1, 9))
def test_entropy_is_at_most_the_fixed_length_and_the_coder_s_bits_at_least_the_entropy(bits: int) -> None:
    z = codes()
    quantiser = UniformQuantiser(*fit_range(z[:3000], 0.001), bits)
    known, written = (counts(quantiser.indices(part), bits) for part in (z[:3000], z[3000:]))
    assert written.sum(1).tolist() == [1000] * 3
    assert 0 < entropy(written) <= quantiser.fixed_length
    assert entropy(written) < code_length(written, known) < entropy(written) + 3 * 2**bits / 1000


def test_the_right_tables_cost_no_more_than_the_entropy() -> None:
    indices = torch.tensor([[0], [1], [1], [2]]).repeat(100_000, 1)
    occurrences = counts(indices, 2)
    assert code_length(occurrences, occurrences) == pytest.approx(1.5, abs=1e-4)
    assert entropy(occurrences) == pytest.approx(1.5)


def test_an_index_that_was_never_seen_can_be_written() -> None:
    known, written = counts(torch.zeros(7, 1).long(), 1), counts(torch.ones(1, 1).long(), 1)
    assert code_length(written, known) == pytest.approx(-log2(0.5 / 8))


def test_without_dimensions_there_are_no_bits() -> None:
    nothing = counts(torch.zeros(5, 0).long(), 3)
    assert entropy(nothing) == code_length(nothing, nothing) == 0
