"""Write encoder, decoder and score of a trained model as files that run without vaelab."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vaelab import __version__
from vaelab.atomic_write import write_json
from vaelab.config.nearest import did_you_mean
from vaelab.core.spec import PADDING, observed_mask
from vaelab.errors import ConfigError, UserError
from vaelab.evaluation.scores import Combined, Score
from vaelab.models import Model
from vaelab.trained.export.folder import whole_folder
from vaelab.trained.export.formats import (
    SUFFIX,
    NotExportedError,
    Reloaded,
    difference,
    refuse_missing,
    trace,
    write,
)
from vaelab.trained.export.programs import DecoderProgram, EncoderProgram, ScoreProgram
from vaelab.trained.export.recurrent import make_traceable
from vaelab.trained.export.scores import traced
from vaelab.trained.export.units import units_of
from vaelab.trained.scores import Scorer

if TYPE_CHECKING:
    from vaelab.trained.trained import Trained

EXPORT = "export.json"
FORMATS, PARTS = ("onnx", "torch"), ("encoder", "decoder", "score")
TOLERANCE = 1e-4  # absolute, in units of the model; relative for values above 1
CHECKED = (3, 1, 7)  # batch sizes of the check; the first batch is traced
GENERATED = ("reconstruction", "relative", "local", "neighbours")  # scores that use the decoder


@dataclass(frozen=True)
class _Part:
    """A program to write.

    Attributes:
        name: the name of the part.
        program: the module.
        inputs: batches of its arguments by name.
        expected: the results of the model for each batch: each output, with the other arguments of `difference`.
        outputs: the names of the outputs.
        about: a description of inputs and outputs by name, as plain data.
        more: further facts for `export.json`.
    """

    name: str
    program: nn.Module
    inputs: list[dict[str, Tensor]]
    expected: list[list[tuple[Tensor, Tensor, Tensor]]]
    outputs: tuple[str, ...]
    about: dict[str, dict[str, Any]]
    more: dict[str, Any]


def export(
    trained: Trained,
    folder: Path,
    to: Sequence[str] = FORMATS,
    parts: Sequence[str] | None = None,
    score: str | None = None,
) -> dict[str, Any]:
    """See `Trained.export`.

    Raises:
        ConfigError: a format, a part or a score is unknown, a part cannot be exported, or a package is missing.
        UserError: a program differs from the model.
        OSError: the folder cannot be written.
    """
    to = [to] if isinstance(to, str) else to
    parts = [parts] if isinstance(parts, str) else parts
    refuse_unknown(to, FORMATS, "to")
    refuse_unknown(PARTS if parts is None else parts, PARTS, "parts")
    if score is not None and parts is not None and "score" not in parts:
        raise ConfigError(f"score={score}: score is not among the parts; add it, or omit the score")
    refuse_missing(to)
    made = _Programs(trained, score)
    programs: dict[str, Any] = {}
    refused: dict[str, str] = {}
    stale = [EXPORT, *(f"{part}{suffix}" for part in PARTS for suffix in SUFFIX.values())]
    with whole_folder(folder, EXPORT, stale) as partial:
        for name in PARTS if parts is None else dict.fromkeys(parts):
            try:
                programs[name] = _written(made.part(name), to, partial)
            except NotExportedError as error:
                if parts is not None:
                    raise ConfigError(f"{name}: {error}") from error
                refused[name] = str(error)
                for suffix in SUFFIX.values():
                    (partial / f"{name}{suffix}").unlink(missing_ok=True)
        if not programs:
            raise ConfigError("; ".join(f"{name}: {reason}" for name, reason in refused.items()))
        about = _versions(to) | {
            "run": (trained.folder.parent if trained.folder.name == "model" else trained.folder).name,
            "data": trained.spec.name,
            "model": type(trained.model).__name__,
            "tolerance": TOLERANCE,
            "largest_difference": max(max(one["largest_difference"].values()) for one in programs.values()),
            "programs": programs,
            "not_exported": refused,
        }
        write_json(partial / EXPORT, about)
    return about


def refuse_unknown(names: Sequence[str], known: Sequence[str], option: str) -> None:
    """Refuse unknown names.

    Raises:
        ConfigError: a name is unknown, or there is none.
    """
    if not names:
        raise ConfigError(f"{option}=: name one or more of {', '.join(known)}")
    for name in names:
        if name not in known:
            raise ConfigError(f"{option}={name}: should be one of {', '.join(known)}; {did_you_mean(name, known)}")


def _versions(to: Sequence[str]) -> dict[str, str]:
    found = {"vaelab": __version__, "torch": str(torch.__version__)}
    if "onnx" in to:
        import onnx
        import onnxruntime

        found |= {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}
    return found


def _written(part: _Part, to: Sequence[str], folder: Path) -> dict[str, Any]:
    """Write a part in each format, and check each.

    Raises:
        NotExportedError: it cannot be written in this format.
        UserError: it differs from the model.
    """
    exported = trace(part.program, part.inputs[0])
    files: dict[str, str] = {}
    apart: dict[str, float] = {}
    more: dict[str, Any] = {}
    for format in dict.fromkeys(to):
        path = folder / f"{part.name}{SUFFIX[format]}"
        more |= write(exported, format, path, [*part.inputs[0]], part.outputs)
        files[format], apart[format] = path.name, _largest(part, path, format)
        if not apart[format] <= TOLERANCE:
            raise UserError(
                f"{path.name}: differs from the model by {apart[format]:.2g}, more than {TOLERANCE:g} "
                "(in units of the model, or of the value where that is above 1); nothing was written"
            )
    inputs = [_described(name, values, part.about[f"input {name}"]) for name, values in part.inputs[0].items()]
    first = zip(part.outputs, part.expected[0], strict=True)
    outputs = [_described(name, expected, part.about[f"output {name}"]) for name, (expected, _, _) in first]
    return {"files": files, "inputs": inputs, "outputs": outputs, "largest_difference": apart} | more | part.more


def _described(name: str, values: Tensor, about: Mapping[str, Any]) -> dict[str, Any]:
    dtype = str(values.dtype).removeprefix("torch.")
    return {"name": name, "dtype": dtype, "shape": ["batch", *values.shape[1:]]} | dict(about)


def _largest(part: _Part, path: Path, format: str) -> float:
    """Return the largest difference between a file and the model, over all batches and outputs."""
    try:
        reloaded = Reloaded(path, format)
        found = [reloaded(inputs) for inputs in part.inputs]
    except Exception as error:
        told = (str(error).strip().splitlines() or [""])[0]
        raise NotExportedError(f"{path.name} cannot be run ({type(error).__name__}: {told})"[:300]) from error
    largest = 0.0
    for given, expected in zip(found, part.expected, strict=True):
        for one, (right, unit, size) in zip(given, expected, strict=True):
            largest = max(largest, difference(one, right, unit, size))
    return largest


class _Programs:
    """The parts of one model, and its results for the examples of the check.

    Args:
        trained: the model.
        score: the score to export; the score of the threshold if None.
    """

    def __init__(self, trained: Trained, score: str | None) -> None:
        self.spec = trained.spec
        self.units = units_of(self.spec, trained.reading)
        self.model = deepcopy(trained.model).cpu().requires_grad_(False).eval()  # the reference
        self.traced: Model = deepcopy(self.model)
        make_traceable(self.traced)
        self.scorer = Scorer(self.model, trained.folder)
        self.score = self.scorer.name(score)
        self.x = self._examples(trained)
        self.seen = [self.units.reference(x) for x in self.x]
        self.labels = [self._labels(len(x)) for x in self.x]

    def part(self, name: str) -> _Part:
        """Return a part.

        Raises:
            NotExportedError: the part cannot be exported; the message says why.
        """
        build: Callable[[], _Part] = {"encoder": self._encoder, "decoder": self._decoder, "score": self._score}[name]
        with torch.no_grad():
            return build()

    def _encoder(self) -> _Part:
        codes = self._codes()
        about = self._about("x") | self._about_label() | {"output code": {"unit": "the code, or posterior mean"}}
        one = torch.ones(())
        return _Part(
            "encoder", EncoderProgram(self.traced, self.units), self._inputs("x", self.x),
            [[(code, one, code)] for code in codes], EncoderProgram.outputs, about, {},
        )  # fmt: skip

    def _decoder(self) -> _Part:
        if self.model.autoregressive:
            raise NotExportedError(
                f"{type(self.model.decoder).__name__} is autoregressive, and its loop over steps cannot be exported"
            )
        codes = self._codes()
        expected = []
        for code, label in zip(codes, self.labels, strict=True):
            values = self.model.decode(code, label)
            expected.append([(self.units.reference_given(values), self.units.size, values)])
        about = {"input code": {"unit": "a code, as returned by the encoder"}} | self._about_label()
        return _Part(
            "decoder", DecoderProgram(self.traced, self.units), self._inputs("code", codes), expected,
            DecoderProgram.outputs, about | {"output x": self.units.about(True)}, {},
        )  # fmt: skip

    def _score(self) -> _Part:
        module = self.scorer.detector.scores[self.score]
        assert isinstance(module, Score)
        if self.model.autoregressive and self.spec.support != "categories" and self._decodes(module):
            raise NotExportedError(
                f"{self.score} uses the output of {type(self.model.decoder).__name__}, which is autoregressive, "
                "and its loop over steps cannot be exported"
            )
        threshold = self.scorer.threshold
        threshold = threshold if threshold is not None and threshold.score == self.score else None
        program = ScoreProgram(traced(self.traced, module, self.seen[0]), self.units, threshold)
        one, expected = torch.ones(()), []
        for seen in self.seen:
            scores = self.scorer.detector.score(seen, self.score).double()
            outputs = [(scores, one, scores)]
            if threshold is not None:  # rounding may move a score across the threshold
                clear = (scores - threshold.value).abs() > TOLERANCE * max(1.0, abs(threshold.value))
                outputs.append((threshold.alarms(scores), one, clear | scores.isnan()))
            expected.append(outputs)
        about = self._about("x") | {"output score": {"unit": f"{self.score}, larger is more anomalous"}}
        more: dict[str, Any] = {"score": self.score}
        if threshold is not None:
            about["output alarm"] = {"unit": "whether the score is above the threshold"}
            value = threshold.value if isfinite(threshold.value) else None
            more |= {"threshold": value, "false_alarm_rate": threshold.rate}
        return _Part("score", program, self._inputs("x", self.x, False), expected, program.outputs, about, more)

    def _decodes(self, score: Score) -> bool:
        """Whether a score compares an example with decoder output."""
        if isinstance(score, Combined):
            return any(self._decodes(part) for _, part in score.parts)
        known = dict(self.scorer.detector.scores.items())
        return any(known.get(name) is score for name in GENERATED)

    def _codes(self) -> list[Tensor]:
        return [self.model.encode(x, label) for x, label in zip(self.seen, self.labels, strict=True)]

    def _about(self, name: str) -> dict[str, dict[str, Any]]:
        return {f"input {name}": self.units.about(False)}

    def _about_label(self) -> dict[str, dict[str, Any]]:
        classes = [*self.spec.classes]
        return {"input label": {"unit": "index of the label, from 0; -1 for none", "classes": classes}}

    def _inputs(self, name: str, values: list[Tensor], labelled: bool = True) -> list[dict[str, Tensor]]:
        found = []
        for one, label in zip(values, self.labels, strict=True):
            found.append({name: one.contiguous()} | ({"label": label} if label is not None and labelled else {}))
        return found

    def _labels(self, count: int) -> Tensor | None:
        """Return each class in turn, and no class."""
        if not self.model.conditional:
            return None
        return torch.arange(count) % (len(self.spec.classes) + 1) - 1

    def _examples(self, trained: Trained) -> list[Tensor]:
        """Return batches of examples as a program takes them: samples of the model, with missing values if allowed."""
        values = trained.sampled(sum(CHECKED), prior="own")
        values = torch.nn.functional.pad(
            values, (0, self.spec.shape[-1] - values.shape[-1]),
            value=PADDING if self.spec.support == "categories" else float("nan"),
        )  # fmt: skip
        x = self.units.examples(values)
        if self.spec.has_missing and x.is_floating_point() and bool(observed_mask(x).all()):
            flat = x.flatten(1)
            flat[1::3, 1::4] = torch.nan
            x = flat.view_as(x)
        return [*x.contiguous().split(CHECKED)]
