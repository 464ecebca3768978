"""A VAE whose code holds the class of an example, which few train examples need to show."""

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
    """What the encoder says of a batch.

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
    """p(x|y,z) p(y) p(z) with a class y that some train examples show (Kingma et al., 2014, the model M2).

    p(y) is uniform and p(z) is N(0, I). q(y|x) is a classifier, and q(z|x,y) is normal. With -L(x,y), the bound on
    log p(x,y) of equation 6, a train example costs

    - L(x,y) with a label: -E[log p(x|y,z)] + KL(q(z|x,y) || p(z)) - log p(y)
    - U(x) without (equation 7): sum over y of q(y|x) L(x,y), less the entropy of q(y|x). The sum is over all classes.

    `reconstruction` and `kl` are these: `kl` is that of y and z together, `kl_y` and `kl_z`, and of an example with a
    label `kl_y` is -log p(y). `classification` is the last term of equation 9. In the mean over an epoch, the loss is

        (sum of L(x,y) with a label + sum of U(x) without) / N + alpha (mean of -log q(y|x) over examples with a label)

    for N train examples. So alpha is the paper's divided by N. A hundred labels would hardly ever be in a batch, so the
    few examples with a label come several times in an epoch, until they are a tenth of its rows. Each row is weighed by
    how much more often it comes than its example counts, so that this changes the noise of the gradient, not the
    objective. In evaluation no label is shown: `elbo` and `nll` are bounds on log p(x), with a sum over all classes.

        python train.py data=mnist model=m2 data.labelled=100

    The code is y, as K zeros and a one, then z. A label that is given to `sample_latent` is that of the samples.

    Args:
        alpha: see above.
        hidden: numbers of the encoder's output, which both q(y|x) and q(z|x,y) are made of.
        classifier: widths of the hidden layers between that and q(y|x).
        **settings: see `VAE`. Each class has `samples` draws of z.

    Raises:
        ConfigError: the bound is importance-weighted, or the model is given labels too.
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
            raise ConfigError("model.condition=label: M2 infers the label, which it would be told; leave condition out")
        super().__init__(**settings)
        if self.bound == "iwae":
            raise ConfigError("model.bound=iwae: M2 has the bound of equations 6 and 7; use model.bound=elbo")
        labels, z = self.latent.groups
        self.alpha, self.labels = alpha, labels.size
        widths = [hidden, *classifier]
        layers = [layer for pair in zip(widths, classifier, strict=False) for layer in (nn.SiLU(), nn.Linear(*pair))]
        self.classifier = nn.Sequential(*layers, nn.SiLU(), nn.Linear(widths[-1], labels.size))
        self.infer_z = GivenLabel(hidden, labels.size, 2 * z.size)
        self.row_weights: Tensor  # of L, U and the classification, in training; of the data, so that it is not saved
        self.register_buffer("row_weights", torch.ones(3), persistent=False)

    @classmethod
    def latent_spec(cls, shape: tuple[int, ...], posterior: Posterior, settings: Mapping[str, Any]) -> LatentSpec:
        """y and z."""
        if len(shape) > 1:
            raise ConfigError("latent=grid: model=m2 has vectors for codes; use latent=vector")
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
        for term in ("adversarial", "perceptual"):  # they see the likeliest class alone, and a choice has no gradient
            if term in moved:
                moved[term] = tuple(name for name in moved[term] if name != "classifier")
        return moved

    def count_labels(self, examples: int, labelled: int, repeats: int) -> None:
        """See `Model.count_labels`: what rows weigh, so that the loss is that of the class's docstring."""
        if labelled:
            rows = examples + (repeats - 1) * labelled  # of an epoch, whose mean is taken
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
        """See `Coder.draw_from`: y of q(y|x), then z of q(z|x,y). The rate of z is a mean over the draws of y."""
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
        """See `Coder.decoder_latent`: all of it."""
        return torch.cat(self.latent.split(code), dim=1)

    def code(self, inferred: LabelInferred) -> Tensor:
        """The likeliest y, and the mean of z given that."""
        label = inferred.likeliest
        mean = inferred.given(label.unsqueeze(1)).mean[:, 0]
        return torch.cat([F.one_hot(label, self.labels).to(mean.dtype), mean], dim=1)

    def variance(self, inferred: LabelInferred) -> Tensor:
        """Of each number of y, and of z given the likeliest y."""
        share = inferred.log_share.exp()
        q = inferred.given(inferred.likeliest.unsqueeze(1))
        return torch.cat([share * (1 - share), q.variance[:, 0]], dim=1)

    def sample_latent(
        self, count: int, seed: int = 0, temperature: float = 1.0, condition: Tensor | None = None
    ) -> Tensor:
        """See `Coder.sample_latent`; y is the label, and drawn where none is given. The temperature is that of z."""
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
        # One formula for both: the label, where it is shown, is a q(y|x) that is certain, whose entropy is 0.
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
        """See `VAE.predict`; with q(y|x)."""
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
        # log N(z) of a draw is that of its noise, less the logarithms of the standard deviations.
        log_q = gaussian_log_prob(normal.square(), 0.0).unsqueeze(1) - 0.5 * inferred.z.log_variance.sum(
            2, keepdim=True
        )
        return (each.unflatten(1, (self.labels, -1)) + log_p - log_q).logsumexp(1) - log(self.labels)

    def _z_of_each_class(self, inferred: LabelInferred, normal: Tensor) -> Tensor:
        """y and draws of z for each y by `normal: (B, S, D)`, `(B, K, S, K + D)`: the same noise for each y."""
        mean, scale = inferred.z.mean.unsqueeze(2), (0.5 * inferred.z.log_variance).exp().unsqueeze(2)
        z = mean + scale * normal.unsqueeze(1)
        y = torch.eye(self.labels, dtype=z.dtype, device=z.device).view(1, self.labels, 1, self.labels)
        return torch.cat([y.expand(*z.shape[:3], -1), z], dim=3)

    def _rates_of_z(self, inferred: LabelInferred) -> Tensor:
        """KL(q(z|x,y) || p(z)) of each number of z for each y, `(B, K, D)` nats."""
        q = inferred.z
        return 0.5 * (q.mean.square() + q.variance - 1 - q.log_variance)


class GivenLabel(nn.Module):
    """Features of an example to numbers for each class that it might be of.

    The same as layers that read features and a class as zeros and a one, but what depends on the features alone is
    computed once for all classes.
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
    """The KL of classes of these probabilities `(B, K)` from equal ones, in nats: K parts, none negative, `(B, K)`.

    Parts of the plain sum of q log(K q) would be negative, and a schedule that prices each part has no use for those.
    """
    classes = share.shape[1]
    return share * (log_share + log(classes)) - share + 1 / classes
