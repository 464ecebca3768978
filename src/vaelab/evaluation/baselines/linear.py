"""The best linear estimate of clean values from corrupted ones."""

from sklearn.linear_model import Ridge
from torch import Tensor

from vaelab.core.spec import DataSpec
from vaelab.data.plain import from_plain, plain


class LinearDenoiser:
    """Each clean value as a linear function of all corrupted values of its example.

    Scikit-learn's ridge regression with a penalty of 1, which matters only for collinear columns. Under Gaussian noise
    it is the Wiener filter of the training examples.
    """

    def __init__(self, noisy: Tensor, clean: Tensor, spec: DataSpec) -> None:
        """Fit to `(N, *shape)` pairs."""
        self._spec = spec
        self._fitted = Ridge(alpha=1.0).fit(plain(noisy, spec).numpy(), plain(clean, spec).numpy())

    def __call__(self, noisy: Tensor) -> Tensor:
        """Estimates, `(N, *shape)`."""
        rows = plain(noisy, self._spec)
        return from_plain(rows.new_tensor(self._fitted.predict(rows.numpy())).view_as(rows), self._spec)
