"""M2: a semi-supervised VAE whose code contains the class of an example."""

from collections.abc import Mapping
from math import log
from typing import Annotated, Any, ClassVar, NamedTuple, Unpack

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn
from torch.nn import functional as F

from vaelab.core.batch import Batch
from vaelab.core.noise import mix
from vaelab.errors import ConfigError
from vaelab.latents import DiagonalGaussian, Draw, GroupDraw, LatentGroup, LatentSpec, Posterior, StandardNormal
from vaelab.latents.draw import NONE
from vaelab.latents.gaussian import gaussian_draw, gaussian_log_prob
from vaelab.latents.prior import standard_normal_numbers
from vaelab.models.coder import Streams, drawn
from vaelab.models.schedules import Scheduled
from vaelab.models.terms import Prediction, Terms
from vaelab.models.vae import VAE, VAESettings

CLASSIFICATION = "classification"


class LabelInferred(NamedTuple):
    """The posterior for a batch.

    Attributes:
        log_share: `(B, K)`, log q(y|x).
        z: q(z|x,y) for each y, `(B, K, D)`.
    """

    log_share: Tensor
    z: DiagonalGaussian

    @property
    def likeliest(self) -> Tensor:
        """`(B,)` int64."""
        return self.log_share.argmax(1)

    def given(self, label: Tensor) -> DiagonalGaussian:
        """q(z|x,y) for labels `(B, S)`, `(B, S, D)`."""
        index = label.unsqueeze(2).expand(-1, -1, self.z.mean.shape[2])
        return DiagonalGaussian(self.z.mean.gather(1, index), self.z.log_variance.gather(1, index))


class M2(VAE):
    """p(x|y,z) p(y) p(z) with a class y that is observed for some train examples (Kingma et al., 2014, model M2).

    p(y) is uniform and p(z) is N(0, I). q(y|x) is a classifier, and q(z|x,y) is normal. -L(x,y) is the bound on
    log p(x,y) of equation 6. The objective of a train example is

    - L(x,y) with a label: -E[log p(x|y,z)] + KL(q(z|x,y) || p(z)) - log p(y)
    - U(x) without a label (equation 7): sum over y of q(y|x) L(x,y), minus the entropy of q(y|x). The sum is over all
      classes.

    `reconstruction` and `kl` are the terms of these. `kl` is that of y and z together, `kl_y` and `kl_z` are its parts;
    for a labelled example `kl_y` is -log p(y). `classification` is the last term of equation 9. In the mean over an
    epoch, the loss is

        (sum of L(x,y) with a label + sum of U(x) without) / N + alpha (mean of -log q(y|x) over examples with a label)

    for N train examples, so alpha is the paper's divided by N. With a hundred labels, most batches would have no
    labelled example. Labelled examples are therefore repeated within an epoch, until they are a tenth of its rows, and
    each row is weighted by the inverse of its repetitions. This changes the noise of the gradient, not the objective.
    In evaluation labels are not used: `elbo` and `nll` are bounds on log p(x), with a sum over all classes.

        python train.py data=mnist model=m2 data.labelled=100

    The code is y, as a one-hot vector of K dimensions, followed by z. A label given to `sample_latent` is the class of
    the samples.

    Args:
        alpha: see above.
        hidden: dimensions of the encoder's output, from which q(y|x) and q(z|x,y) are computed.
        classifier: widths of the hidden layers between that output and q(y|x).
        **settings: see `VAE`. `samples` is the number of draws of z for each class.

    Raises:
        ConfigError: the bound is importance-weighted, or the model is conditional too.
    """

    takes = frozenset()
    grids = False
    inference = ("encoder", "classifier", "infer_z")
    infers_label: ClassVar[bool] = True
    labelled_share: ClassVar[float] = 0.1

    def __init__(
        self,
        alpha: Annotated[float, Ge(0)],
        hidden: Annotated[int, Gt(0)],
        classifier: list[Annotated[int, Gt(0)]],
        **settings: Unpack[VAESettings],
    ) -> None:
        if settings.get("condition"):
            raise ConfigError("model.condition=label: M2 infers the label and must not read it; leave condition out")
        super().__init__(**settings)
        if self.bound == "iwae":
            raise ConfigError("model.bound=iwae: M2 uses the bound of equations 6 and 7; use model.bound=elbo")
        labels, z = self.latent.groups
        self.alpha, self.labels = alpha, labels.size
        widths = [hidden, *classifier]
        layers = [layer for pair in zip(widths, classifier, strict=False) for layer in (nn.SiLU(), nn.Linear(*pair))]
        self.classifier = nn.Sequential(*layers, nn.SiLU(), nn.Linear(widths[-1], labels.size))
        self.infer_z = GivenLabel(hidden, labels.size, 2 * z.size)
        self.row_weights: Tensor  # weights of L, U and the classification in training; they depend on the data
        self.register_buffer("row_weights", torch.ones(3), persistent=False)

    @classmethod
    def latent_spec(cls, shape: tuple[int, ...], posterior: Posterior, settings: Mapping[str, Any]) -> LatentSpec:
        """y, then z."""
        if len(shape) > 1:
            raise ConfigError("latent=grid: model=m2 needs codes that are vectors; use latent=vector")
        classes = len(settings["spec"].classes)
        return LatentSpec((LatentGroup((classes,), (1,), classes, "y"), LatentGroup(shape, name="z")))

    @classmethod
    def encoder_shape(cls, latent: LatentSpec, posterior: Posterior, settings: Mapping[str, Any]) -> tuple[int, ...]:
        """Features."""
        return (settings["hidden"],)

    @classmethod
    def decoder_shape(cls, latent: LatentSpec, settings: Mapping[str, Any]) -> tuple[int, ...]:
        """Both variables."""
        return (latent.size,)

    @property
    def draws_by_label(self) -> bool:
        """True: y is a part of the code."""
        return True

    def moves(self) -> dict[str, tuple[str, ...]]:
        """See `Model.moves`."""
        moved = super().moves()
        classifying = self._parts("encoder", "classifier")
        moved |= {"kl_y": classifying, "kl_z": self.inferring(), CLASSIFICATION: classifying if self.alpha else ()}
        for term in ("adversarial", "perceptual"):  # they use the most likely class only, and argmax has no gradient
            if term in moved:
                moved[term] = tuple(name for name in moved[term] if name != "classifier")
        return moved

    def count_labels(self, examples: int, labelled: int, repeats: int) -> None:
        """See `Model.count_labels`: sets the weights of rows, so that the loss is that of the class docstring."""
        if labelled:
            rows = examples + (repeats - 1) * labelled  # rows of an epoch, over which the mean is taken
            weights = [rows / repeats / examples, rows / examples, rows / repeats / labelled]
            self.row_weights.copy_(torch.tensor(weights))

    # From x to y and z

    def infer(self, x: Tensor, condition: Tensor | None = None) -> LabelInferred:
        """See `Coder.infer`."""
        features = self.features(x, None).to(self.dtype)
        numbers = self.classifier(features)
        log_share = numbers.to(torch.promote_types(numbers.dtype, torch.float32)).log_softmax(1)
        return LabelInferred(log_share, DiagonalGaussian.bounded(self.infer_z(features)))

    def class_probabilities(self, x: Tensor) -> Tensor:
        """q(y|x) for `x: (B, *shape)`, `(B, K)`."""
        return self.infer(x).log_share.exp()

    def streams(self, samples: int, name: str = "posterior") -> Streams:
        """See `Coder.streams`."""
        return {f"{name}_y": ("uniform", (samples,)), f"{name}_z": ("normal", (samples, *self.latent.finest.shape))}

    def draw_from(
        self,
        inferred: LabelInferred,
        noise: Mapping[str, Tensor],
        condition: Tensor | None = None,
        scheduled: Scheduled = NONE,
    ) -> Draw:
        """See `Coder.draw_from`: y from q(y|x), then z from q(z|x,y). The KL of z is averaged over the draws of y."""
        uniform, normal = noise.values()
        share = inferred.log_share
        label = torch.searchsorted(share.exp().cumsum(1), uniform.to(share.dtype).contiguous()).clamp(
            max=self.labels - 1
        )
        log_q = share.gather(1, label)
        parts = _rate_parts(share.exp(), share)
        y = GroupDraw(
            F.one_hot(label, self.labels).to(share.dtype), parts.sum(1), parts,
            lambda: torch.full_like(log_q, -log(self.labels)), lambda: log_q, label.unsqueeze(2),
        )  # fmt: skip
        q = inferred.given(label)
        standard = DiagonalGaussian(torch.zeros_like(q.mean), torch.zeros_like(q.mean))
        z = gaussian_draw(q, standard, normal)
        return Draw((y, z), torch.cat([y.z, z.z], dim=2))

    def decoder_latent(self, code: Tensor) -> Tensor:
        """See `Coder.decoder_latent`: the whole code."""
        return torch.cat(self.latent.split(code), dim=1)

    def code(self, inferred: LabelInferred) -> Tensor:
        """The most likely y, and the mean of z given it."""
        label = inferred.likeliest
        mean = inferred.given(label.unsqueeze(1)).mean[:, 0]
        return torch.cat([F.one_hot(label, self.labels).to(mean.dtype), mean], dim=1)

    def variance(self, inferred: LabelInferred) -> Tensor:
        """The variance of each dimension of y, and of z given the most likely y."""
        share = inferred.log_share.exp()
        q = inferred.given(inferred.likeliest.unsqueeze(1))
        return torch.cat([share * (1 - share), q.variance[:, 0]], dim=1)

    def sample_latent(
        self, count: int, seed: int = 0, temperature: float = 1.0, condition: Tensor | None = None
    ) -> Tensor:
        """See `Coder.sample_latent`; y is the label, or drawn if there is none. The temperature applies to z."""
        generator = torch.Generator().manual_seed(mix(seed, "label"))
        label = torch.randint(self.labels, (count,), generator=generator).to(self.device)
        if condition is not None:
            label = torch.where(condition < 0, label, condition)
        z = temperature * standard_normal_numbers(count, self.latent.finest.shape, seed).to(self.device)
        return torch.cat([F.one_hot(label, self.labels).to(z.dtype), z], dim=1)

    # The objective

    def _terms(self, inferred: Any, condition: Tensor | None, batch: Batch, scheduled: Scheduled | None) -> Terms:
        scheduled = self.scheduled_now() if scheduled is None else scheduled
        normal = drawn(self.streams(self.samples), batch.noise, batch.x.device)["posterior_z"]
        z = self._z_of_each_class(inferred, normal)
        each, raw = self.log_likelihood_of_draws(z.flatten(1, 2), batch.target, self.teacher_forcing(batch))
        known = batch.label >= 0
        shown = known if self.training else torch.zeros_like(known)
        own = F.one_hot(batch.label.clamp(0, self.labels - 1), self.labels).to(each.dtype)
        # One formula for both cases: with a label, q(y|x) puts all probability on the label, and its entropy is 0.
        share = torch.where(shown.unsqueeze(1), own, inferred.log_share.exp())
        log_share = torch.where(shown.unsqueeze(1), 0.0, inferred.log_share)
        log_likelihood = (share * each.unflatten(1, (self.labels, -1)).mean(2)).sum(1)
        of_y = _rate_parts(share, log_share)
        of_z = (share.unsqueeze(2) * self._rates_of_z(inferred)).sum(1)
        parts = torch.cat([of_y, of_z], dim=1)
        loss = -log_likelihood + scheduled["beta"] * self.schedule.apply(parts, scheduled)
        wrong = -(own * inferred.log_share).sum(1) * (known & (batch.label < self.labels))
        classification = self.alpha * wrong
        weight = None
        if self.training:
            weights = self.row_weights.to(loss)
            weight = torch.where(shown, weights[0], weights[1])
            loss = loss * weight
            classification = classification * weights[2]
        rates = {"kl_y": of_y.sum(1), "kl_z": of_z.sum(1)}
        output = None
        if self.keeps_output:
            rows = torch.arange(len(share), device=share.device)
            output = raw.unflatten(0, (len(share), self.labels, -1))[rows, share.argmax(1), 0]
        return Terms(
            loss + classification, log_likelihood, parts.sum(1), {CLASSIFICATION: classification}, rates, output=output,
            weight=weight,
        )  # fmt: skip

    def predict(self, batch: Batch, scheduled: Scheduled | None = None) -> Prediction:
        """See `VAE.predict`; adds q(y|x)."""
        inferred = self.infer(batch.x)
        terms, code = self._terms(inferred, None, batch, scheduled), self.code(inferred)
        return Prediction(terms, code, self.reconstruct(code, batch.target), inferred.log_share.exp())

    def log_weights(
        self, inferred: Any, noise: Mapping[str, Tensor], target: Tensor, condition: Tensor | None = None
    ) -> Tensor:
        """log of the sum over y of p(y) p(x,z|y) / q(z|x,y), at draws of z for each y, in nats, `(B, S)`."""
        normal = list(noise.values())[1]
        z = self._z_of_each_class(inferred, normal)
        each, _ = self.log_likelihood_of_draws(z.flatten(1, 2), target, target)
        numbers = z[..., self.labels :].flatten(1, 2)
        log_p = StandardNormal().distribution().log_prob(numbers).unflatten(1, (self.labels, -1))
        # The log density of a draw is that of its noise, minus the logarithms of the standard deviations.
        log_q = gaussian_log_prob(normal.square(), 0.0).unsqueeze(1) - 0.5 * inferred.z.log_variance.sum(
            2, keepdim=True
        )
        return (each.unflatten(1, (self.labels, -1)) + log_p - log_q).logsumexp(1) - log(self.labels)

    def _z_of_each_class(self, inferred: LabelInferred, normal: Tensor) -> Tensor:
        """y and draws of z for each y from `normal: (B, S, D)`, `(B, K, S, K + D)`: the same noise for each y."""
        mean, scale = inferred.z.mean.unsqueeze(2), (0.5 * inferred.z.log_variance).exp().unsqueeze(2)
        z = mean + scale * normal.unsqueeze(1)
        y = torch.eye(self.labels, dtype=z.dtype, device=z.device).view(1, self.labels, 1, self.labels)
        return torch.cat([y.expand(*z.shape[:3], -1), z], dim=3)

    def _rates_of_z(self, inferred: LabelInferred) -> Tensor:
        """KL(q(z|x,y) || p(z)) of each dimension of z for each y, `(B, K, D)` nats."""
        q = inferred.z
        return 0.5 * (q.mean.square() + q.variance - 1 - q.log_variance)


class GivenLabel(nn.Module):
    """A network that maps the features of an example to outputs for each possible class.

    It is equivalent to layers that read the features and a one-hot class, but the part that depends on the features
    alone is computed once for all classes.
    """

    def __init__(self, features: int, classes: int, outputs: int) -> None:
        super().__init__()
        self.of_features, self.of_class = nn.Linear(features, features), nn.Embedding(classes, features)
        self.output = nn.Linear(features, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """`(B, features)` to `(B, K, outputs)`."""
        both = self.of_features(F.silu(features)).unsqueeze(1) + self.of_class.weight
        numbers: Tensor = self.output(F.silu(both))
        return numbers


def _rate_parts(share: Tensor, log_share: Tensor) -> Tensor:
    """The KL of class probabilities `(B, K)` from the uniform distribution, in nats, as K nonnegative parts, `(B, K)`.

    Terms of the plain sum of q log(K q) can be negative, which schedules that act on each part cannot use.
    """
    classes = share.shape[1]
    return share * (log_share + log(classes)) - share + 1 / classes
