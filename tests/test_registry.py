"""What the registry of metrics says of a number by its name."""

import pytest

from vaelab.metrics import best, is_better, is_detail, unit


def test_one_number_is_better_than_another_by_its_direction() -> None:
    assert is_better("test/mse", 1.0, than=2.0)
    assert not is_better("test/mse", 2.0, than=1.0)
    assert is_better("test/psnr", 2.0, than=1.0)
    assert not is_better("test/psnr", 1.0, than=1.0)
    assert not is_better("test/threshold", 1.0, than=2.0)  # neither more nor less is better
    assert not is_better("test/mine", 1.0, than=2.0)
    assert (best("test/mse", [2.0, 1.0]), best("test/psnr", [2.0, 1.0])) == (1.0, 2.0)
    assert (best("test/mse", []), best("test/mine", [1.0])) == (None, None)
    assert (unit("test/psnr"), unit("test/ssim"), unit("test/mine")) == ("dB", "", "")


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("test/psnr", False), ("test/psnr_at_0.3", True), ("test/mse_low", True), ("test/mse_4bit", True),
        ("test/fid_fitted", False), ("test/mine_low", False), ("test/my_class_balance", False),
    ],
)  # fmt: skip
def test_only_a_number_that_is_known_is_a_detail_of_another(name: str, detail: bool) -> None:
    assert is_detail(name) is detail
