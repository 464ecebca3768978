"""Curves of distortion over rate."""

from io import BytesIO

import pytest
from matplotlib.figure import Figure

from vaelab.figures.rate_distortion import front, quantisation_curves, rate_distortion_curve, sweep_points


def drawn(figure: Figure) -> dict[str, tuple[list[float], list[float]]]:
    """What the legend names."""
    figure.savefig(BytesIO())
    lines = {str(line.get_label()): line for line in figure.axes[0].lines}
    return {name: (list(x.get_xdata()), list(x.get_ydata())) for name, x in lines.items() if name[0] != "_"}


def run(latent_dim: int, mse: float) -> dict[str, float]:
    """The numbers of a run whose code has 2 or 3 bits."""
    numbers = {"test/mse": mse, "baseline/pca/mse": 2 * mse, "test/values_out": float(latent_dim)}
    for prefix, times in ("test/", 1.0), ("baseline/pca/", 2.0):
        for bits in (2, 3):
            numbers[f"{prefix}mse_{bits}bit"] = times * (mse + 4.0**-bits)
            numbers[f"{prefix}bits_out_{bits}bit"] = float(bits * latent_dim)
            numbers[f"{prefix}bits_coded_{bits}bit"] = 0.9 * bits * latent_dim
    return numbers


def test_the_curve_goes_through_what_no_other_point_beats() -> None:
    points = [(1, 9, "a"), (2, 10, "worse than a"), (2, 5, "b"), (3, 5, "dearer than b"), (4, 1, "c"), (1, 12, "d")]
    assert [label for _, _, label in front(points)] == ["a", "b", "c"]
    assert front([]) == []


def test_the_curve_falls() -> None:
    points = [(r, d, "") for r in range(5) for d in (7 - r, 8 - 2 * r % 5, 3.5)]
    rates, distortions, _ = zip(*front(points), strict=True)
    assert list(rates) == sorted(set(rates))
    assert list(distortions) == sorted(set(distortions), reverse=True)


def test_one_curve_for_runs_and_one_for_the_baseline() -> None:
    points = [(10.0, 0.3, "2"), (20.0, 0.1, "4"), (20.0, 0.2, "4, beta 9")]
    curves = drawn(rate_distortion_curve(points, [(10.0, 0.5, "PCA 2")], rate="bits", distortion="mse"))
    assert curves["runs"] == ([10, 20], [0.3, 0.1])
    assert curves["PCA"] == ([10], [0.5])


def test_a_curve_needs_no_baseline_and_no_points() -> None:
    assert set(drawn(rate_distortion_curve([(1.0, 2.0, "")]))) == {"runs"}
    assert drawn(rate_distortion_curve([])) == {}
    assert drawn(rate_distortion_curve([(1.0, 0.0, "exact"), (0.5, 1.0, "")])) != {}


@pytest.mark.parametrize(("rate", "share"), [("bits_coded", 0.9), ("bits_out", 1.0)])
def test_a_sweep_gives_each_run_at_each_number_of_bits(rate: str, share: float) -> None:
    runs = {"four": run(4, 0.1), "eight": run(8, 0.05), "eight again": run(8, 0.05)}
    points, baseline = sweep_points(runs, rate)
    assert (share * 8, pytest.approx(0.1625), "four, 2 bit") in points
    assert [label for _, _, label in points if label.startswith("eight,")] == ["eight, 2 bit", "eight, 3 bit"]
    assert len(points) == 6
    assert len(baseline) == 4  # runs of one size have one baseline


def test_a_run_and_its_baseline_at_all_rates() -> None:
    curves = drawn(quantisation_curves(run(4, 0.1), size=16, in_unit_range=True))
    assert curves["run, fixed length"] == ([8 / 16, 12 / 16], [pytest.approx(0.1625), pytest.approx(0.1 + 1 / 64)])
    assert curves["PCA, entropy-coded"][0] == pytest.approx([0.9 * 8 / 16, 0.9 * 12 / 16])
