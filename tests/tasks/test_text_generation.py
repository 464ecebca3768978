"""What a run on text reports: rates in every unit, whether the code is used, and what the decoder reaches alone."""

import json
from math import exp, log
from pathlib import Path
from typing import Any

import pytest
import torch

import vaelab
from vaelab.core import DataSpec
from vaelab.data.text.tokens import Tokens
from vaelab.evaluation.token_rates import token_rates, update_token_rates
from vaelab.latents import DiagonalGaussian, Gaussian, StandardNormal

COUNT, DIMENSIONS = 500, 3
mutual_information = Gaussian().mutual_information


def posterior(mean: torch.Tensor, variance: float) -> DiagonalGaussian:
    return DiagonalGaussian(mean, torch.full_like(mean, log(variance)))


def test_a_code_that_says_nothing_has_no_information() -> None:
    assert mutual_information(posterior(torch.ones(COUNT, DIMENSIONS), 0.7)) == pytest.approx(0, abs=1e-9)


def test_a_code_that_names_its_example_has_all_of_it() -> None:
    apart = 100 * torch.arange(COUNT).unsqueeze(1).expand(-1, DIMENSIONS).float()
    assert mutual_information(posterior(apart, 1.0)) == pytest.approx(log(COUNT), abs=1e-5)


def test_information_of_a_gaussian_channel() -> None:
    """Means of variance S under noise of variance 1 tell log(1 + S) / 2 nats a dimension."""
    means = torch.randn(4_000, DIMENSIONS, generator=torch.Generator().manual_seed(0))
    found = mutual_information(posterior(means, 0.5))
    assert found == pytest.approx(DIMENSIONS * log(1 + 2) / 2, rel=0.05)


def test_information_is_no_more_than_the_rate() -> None:
    """The rate is the information and the distance of the aggregate posterior from the prior."""
    means = torch.randn(2_000, DIMENSIONS, generator=torch.Generator().manual_seed(0))
    of = posterior(means, 0.3)
    assert mutual_information(of) < StandardNormal().distribution().kl(of).sum(1).mean()


def test_rates_count_all_nats_over_all_tokens_and_characters() -> None:
    spec = DataSpec("text", "tokens", (4,), "categories", levels=3, has_missing=True, end=2, characters=(1, 5, 1))
    target = torch.tensor([[0, 1, 2, -1], [1, 2, -1, -1], [0, 0, 0, 2]])
    nll = torch.tensor([3.0, 1.0, 5.0])
    metrics = token_rates(spec)
    for part in (slice(0, 2), slice(2, 3)):
        update_token_rates(metrics, nll[part], target[part], spec)
    assert metrics["perplexity"].compute().item() == pytest.approx(exp(9 / 9))
    assert metrics["bits_per_character"].compute().item() == pytest.approx(9 / (7 + 6 + 4) / log(2))
    assert not token_rates(DataSpec("voices", "tokens", (2, 4), "categories", levels=3))


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """Each line says one letter again and again: a code of log 4 nats says all."""
    path = tmp_path / "lines.txt"
    path.write_text("\n".join("abcd"[number % 4] * (3 + number % 7) for number in range(400)))
    return path


SMALL = ["encoder.width=16", "decoder.width=16", "latent_dim=3", "data.batch_size=32", "task.nll_samples=20"]


def run(train: Any, path: Path, *more: str) -> tuple[Path, dict[str, float]]:
    home = f"paths.data_dir={path.parent}"
    folder = train("data=text", f"data.path={path}", home, "trainer.enable_progress_bar=false", *SMALL, *more)
    return folder, json.loads((folder / "metrics.json").read_text())


@pytest.mark.long
def test_a_run_on_text_reports_all_beside_its_nll(train: Any, lines: Path) -> None:
    folder, numbers = run(train, lines, "trainer.max_epochs=12", "optimizer.lr=1e-2", "data.label=null")
    for name in ("nll", "kl", "active_units", "mutual_information", "perplexity", "bits_per_character"):
        assert f"test/{name}" in numbers
    for name in ("nll", "nll_per_step", "perplexity", "bits_per_character"):
        assert f"baseline/no_latent/{name}" in numbers
    per_token = numbers["test/nll_per_step"]
    assert numbers["test/perplexity"] == pytest.approx(exp(per_token), rel=1e-4)
    assert numbers["test/bits_per_character"] == pytest.approx(per_token / log(2), rel=1e-4)
    # which letter and how many of them: log 4 + log 7 nats are all there is to know
    assert numbers["baseline/no_latent/nll"] == pytest.approx(log(28), abs=1.0)
    for name in ("samples", "originals", "reconstructions", "interpolation"):
        shown = (folder / "texts" / f"{name}.txt").read_text()
        assert set(shown) <= set("abcd\n")
        assert shown.split("\n", 1)[0] in (folder / "report.html").read_text()
    assert (folder / "samples" / "samples.txt").is_file()
    tokens, model = Tokens.load(folder), vaelab.load(folder).model
    drawn = model.sample(torch.zeros(2, 3), torch.Generator().manual_seed(0))
    assert all(set(tokens.decode(row)) <= set("abcd") for row in drawn.tolist())


@pytest.mark.long
def test_the_decoder_alone_is_trained_once_for_all_latents(train: Any, lines: Path) -> None:
    first = run(train, lines, "trainer.max_epochs=2")[1]
    kept = list((lines.parent / ".vaelab" / "baselines").glob("no_latent-*.json"))
    second = run(train, lines, "trainer.max_epochs=2", "latent_dim=5", "decoder.word_dropout=0.4", "seed=1")[1]
    assert list((lines.parent / ".vaelab" / "baselines").glob("no_latent-*.json")) == kept
    assert first["baseline/no_latent/nll"] == second["baseline/no_latent/nll"]
    assert first["test/nll"] != second["test/nll"]
    run(train, lines, "trainer.max_epochs=1")
    assert len(list((lines.parent / ".vaelab" / "baselines").glob("no_latent-*.json"))) == 2


@pytest.mark.long
def test_the_decoder_alone_can_be_left_out(train: Any, lines: Path) -> None:
    for more in ("task.no_latent_baseline=false", "model=ae"):
        assert not any("no_latent" in name for name in run(train, lines, "debug=fdr", more)[1])


@pytest.mark.long
def test_evaluating_a_run_again_gives_its_numbers(train: Any, lines: Path) -> None:
    folder, numbers = run(train, lines, "trainer.max_epochs=2", "encoder=transformer", "decoder=gru")
    again = run(train, lines, "trainer.max_epochs=2", "encoder=transformer", "decoder=gru", "train=false",
                f"ckpt_path={folder}")[1]  # fmt: skip
    for name, value in again.items():
        assert value == pytest.approx(numbers[name], rel=1e-5), name


@pytest.mark.long
def test_later_text_is_read_with_the_tokens_of_the_run(train: Any, lines: Path) -> None:
    """The other text has as many tokens of its own, which the model would read as others."""
    folder, _ = run(train, lines, "task.no_latent_baseline=false", "trainer.max_epochs=1")
    other = lines.with_name("other.txt")
    other.write_text(lines.read_text().replace("a", "x"))
    later, numbers = run(train, other, "train=false", f"ckpt_path={folder}")
    assert numbers["test/nll"] > 0
    name = "model/tokenizer.json"
    assert (later / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize("task", ["embedding", "anomaly", "denoising"])
@pytest.mark.long
def test_other_tasks_run_on_text_or_say_why_not(train: Any, tmp_path: Path, task: str) -> None:
    rows = [{"text": "ab"[n % 2] * (2 + n % 5), "kind": "ab"[n % 2]} for n in range(300)]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    more = [f"task={task}", "data.label=kind", *(["data.normal=[a]"] if task == "anomaly" else [])]
    small = [setting for setting in SMALL if not setting.startswith("task.")]
    if task == "denoising":
        with pytest.raises(SystemExit):
            train("data=text", f"data.path={path}", *small, *more, "debug=fdr")
        return
    folder = train(
        "data=text", f"data.path={path}", f"paths.data_dir={tmp_path}", *small, *more, "trainer.max_epochs=1"
    )
    assert (folder / "metrics.json").is_file()
