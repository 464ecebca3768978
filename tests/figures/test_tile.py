"""Images in a row: what is transparent shows a checkerboard, so that it is neither white nor hidden."""

import torch

from vaelab.figures.images import tile


def test_opacity_is_drawn_over_a_checkerboard() -> None:
    image = torch.zeros(1, 4, 16, 16)
    image[:, 0] = 1.0  # red
    image[:, 3, :, 8:] = 1.0  # opaque on the right
    picture = tile(image, 1, gap=0)
    assert picture.shape == (16, 16, 3)
    assert torch.equal(picture[:, 8:], torch.tensor([1.0, 0, 0]).expand(16, 8, 3))
    left = picture[:, :8]
    assert set(left.unique().tolist()) == {left.min().item(), 1.0}
    assert left[0, 0].allclose(torch.tensor(0.8))
    assert left[0, 2].allclose(torch.tensor(1.0))


def test_other_numbers_of_channels_are_shown_beside_each_other() -> None:
    assert tile(torch.rand(2, 5, 4, 4), 2, gap=0).shape == (4, 40, 1)
