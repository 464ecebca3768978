"""What an encoder and a decoder are."""

from typing import ClassVar, Literal

from torch import Tensor, nn

from vaelab.data.spec import Kind

Activation = Literal["relu", "silu", "gelu", "tanh", "elu"]
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "elu": nn.ELU,
}


class Encoder(nn.Module):
    """Maps an example to a vector.

    A subclass takes `input_shape` and `output_size` first, from the run, and its own settings after
    them. `kinds` says which data it fits.
    """

    kinds: ClassVar[frozenset[Kind]]

    def forward(self, x: Tensor) -> Tensor:
        """`x: (B, *input_shape)` to `(B, output_size)`."""
        raise TypeError(f"{type(self).__name__} defines no forward")


class Decoder(nn.Module):
    """Maps a latent code to the raw parameters of a likelihood.

    A subclass takes `latent_dim` and `output_shape` first, from the run: `output_shape` is `(P,
    *shape)` for P parameters for each value of an example.
    """

    kinds: ClassVar[frozenset[Kind]]

    def forward(self, z: Tensor) -> Tensor:
        """`z: (B, latent_dim)` to `(B, P, *shape)`."""
        raise TypeError(f"{type(self).__name__} defines no forward")


def halvings(height: int, width: int, times: int) -> list[tuple[int, int]]:
    """Sizes of an image that is halved, rounding up, `times` times: `times + 1` of them."""
    sizes = [(height, width)]
    for _ in range(times):
        height, width = -(-height // 2), -(-width // 2)
        sizes.append((height, width))
    return sizes


def cropped(images: Tensor, height: int, width: int) -> Tensor:
    """`(..., H, W)` cut to a size; as it is where it has that, since the gradient of a cut is a copy."""
    return images if images.shape[-2:] == (height, width) else images[..., :height, :width]
