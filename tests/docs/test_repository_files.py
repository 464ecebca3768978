"""Files for the services around the repository: they can be read, and what they call is there."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import vaelab

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
OTHERS = [ROOT / ".pre-commit-config.yaml", ROOT / "CITATION.cff", *(ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")]


@pytest.mark.parametrize("file", [*WORKFLOWS, *OTHERS], ids=lambda file: file.name)
def test_it_can_be_read(file: Path) -> None:
    assert isinstance(yaml.safe_load(file.read_text()), dict)


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_a_workflow_calls_what_there_is_and_may_only_read(file: Path) -> None:
    text = file.read_text()
    found = yaml.safe_load(text)
    assert found["permissions"] == {"contents": "read"}
    assert all("timeout-minutes" in job for name, job in found["jobs"].items() if name != "publish")
    targets = set(re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in re.findall(r"run: make (.+)", text):
        assert set(line.split()) <= targets, line
    for program in re.findall(r"run: (\.ci/\w+)", text):
        assert (ROOT / program).is_file()


def test_the_citation_has_the_version_of_the_package() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == vaelab.__version__


def test_python_versions_that_are_tested_are_those_that_are_declared() -> None:
    tested = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())["jobs"]["quick"]["strategy"]["matrix"]
    declared = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    assert tested["python"] == declared


def test_every_extra_is_documented() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/install.md").read_text().partition("## Extras")[2], re.MULTILINE)
    assert [name for name in rows if name in extras] == list(rows[: len(extras)])
    assert set(extras) <= set(rows)
