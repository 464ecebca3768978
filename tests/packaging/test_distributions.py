"""The wheel and the source distribution: what is in them, and that each trains where vaelab is not a checkout."""

import os
import site
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from email import message_from_string
from pathlib import Path

import pytest

from vaelab.config.location import config_dir

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both, built as `python -m build` builds them, without fetching the build tools."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def names(file: Path) -> set[str]:
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as archive:
            return set(archive.namelist())
    with tarfile.open(file) as archive:
        return {member.name.partition("/")[2] for member in archive.getmembers()}


def options() -> Iterator[str]:
    return (path.relative_to(config_dir()).as_posix() for path in config_dir().rglob("*.yaml"))


@pytest.mark.long
def test_a_wheel_has_the_package_its_options_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    found = names(wheel)
    kept = [path for path in options() if not path.startswith("local/")]
    assert len(kept) > 150
    assert {f"vaelab/conf/{path}" for path in kept} <= found
    assert {path.partition("/")[0] for path in found} == {
        "vaelab",
        "hydra_plugins",
        f"{wheel.name.split('-py3')[0]}.dist-info",
    }
    assert {"vaelab/py.typed", "vaelab/reproduce/results.yaml", "vaelab/record/page.js"} <= found
    assert wheel.stat().st_size < 3e6
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in found if name.endswith("METADATA"))
        about = message_from_string(archive.read(metadata).decode())
    page = about.get_payload()
    assert isinstance(page, str)
    assert "](docs/" not in page  # links of the repository lead nowhere on the package index
    assert "https://raw.githubusercontent.com/vaelab/vaelab/main/docs/digits.png" in page


@pytest.mark.long
def test_a_source_distribution_has_what_builds_a_wheel_and_nothing_else(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    found = names(sdist)
    assert {"train.py", "conf/train.yaml", "README.md", "src/vaelab/start.py"} <= found
    kept = {"src", "conf", "train.py", "constraints.txt", "README.md", "CHANGELOG.md"}
    assert {path.partition("/")[0] for path in found} <= kept | {"LICENSE", "PKG-INFO", "pyproject.toml", ".gitignore"}
    assert sdist.stat().st_size < 3e6


@pytest.mark.long
@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_it_trains_from_an_empty_folder(built: Path, tmp_path: Path, kind: str) -> None:
    """In an environment that has its dependencies and nothing of this checkout."""
    (file,) = built.glob(kind)
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False, symlinks=True)
    python = environment / "bin/python"
    (place,) = environment.glob("lib/python*/site-packages")
    tools = [path for path in site.getsitepackages() if "site-packages" in path]
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
    ]
    seen = os.environ | {"PYTHONPATH": os.pathsep.join(tools), "WANDB_MODE": "offline"}
    done = subprocess.run([*install, str(file)], capture_output=True, text=True, env=seen)
    assert done.returncode == 0, done.stderr
    # The dependencies come behind what was installed, and the editable install of the checkout is not followed.
    (place / "dependencies.pth").write_text("".join(f"import sys; sys.path.append({path!r})\n" for path in tools))
    empty = tmp_path / "empty"
    empty.mkdir()
    plain = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"WANDB_MODE": "offline"}
    asked = [environment / "bin/vaelab", "train", "trainer.max_epochs=1", "task.nll_samples=2"]
    done = subprocess.run(asked, cwd=empty, capture_output=True, text=True, env=plain)
    assert done.returncode == 0, done.stderr
    assert list(empty.rglob("metrics.json"))
    where = [python, "-c", "import vaelab, vaelab.config.location as l; print(vaelab.__file__, l.config_dir())"]
    found = subprocess.run(where, cwd=empty, capture_output=True, text=True, env=plain).stdout.split()
    assert all(path.startswith(str(environment)) for path in found), found
