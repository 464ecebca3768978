from pathlib import Path

import pytest
import yaml

from vaelab.config.resume import expand_resume
from vaelab.errors import CheckpointError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/last.ckpt").touch()
    (tmp_path / "overrides.yaml").write_text(yaml.safe_dump(["model=ae", "+trainer.benchmark=true", "seed=3"]))
    return tmp_path


def test_what_was_typed_comes_back_and_new_words_win(run: Path) -> None:
    given = [f"resume={run}", "seed=4", "trainer.benchmark=false"]
    assert expand_resume(given) == ["model=ae", *given, "hydra.mode=RUN"]
    assert expand_resume([f"resume='{run}'"])[0] == "model=ae"


@pytest.mark.parametrize("given", [[], ["seed=1"], ["resume=null"], ["resume="]])
def test_without_resume_nothing_changes(given: list[str]) -> None:
    assert expand_resume(given) == given


def test_a_hidden_secret_must_be_given_again(run: Path) -> None:
    (run / "overrides.yaml").write_text(yaml.safe_dump(["logger.x.token=<hidden>"]))
    with pytest.raises(CheckpointError, match=r"logger\.x\.token"):
        expand_resume([f"resume={run}"])
    assert expand_resume([f"resume={run}", "logger.x.token=a"]) == [
        f"resume={run}",
        "logger.x.token=a",
        "hydra.mode=RUN",
    ]


@pytest.mark.parametrize("text", ["[a, b", "a: 1\n", "- 3\n"])
def test_a_broken_record_is_named(run: Path, text: str) -> None:
    (run / "overrides.yaml").write_text(text)
    with pytest.raises(CheckpointError, match=r"overrides\.yaml"):
        expand_resume([f"resume={run}"])
