"""A trained model as a repository of the Hugging Face hub: its files and a model card.

The files follow the conventions of `huggingface_hub.PyTorchModelHubMixin`: weights in `model.safetensors`,
their description in `config.json`, the card in `README.md`.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

from vaelab import __version__
from vaelab.atomic_write import write_file
from vaelab.errors import CheckpointError, ConfigError, UserError
from vaelab.trained.facts import facts, kind_of, without_places
from vaelab.trained.trained import Trained

FILES = ("model.json", "model.safetensors", "data.json", "training.json", "table.json", "series.json", "tokenizer.json",
         "music.json", "threshold.json", "scores.safetensors", "clean_scores.safetensors", "fitted_prior.json",
         "fitted_prior.safetensors")  # fmt: skip
"""Files of a `model/` that are shared. Nothing else of a run is uploaded."""
CARD, CONFIG = "README.md", "config.json"
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
PIPELINES = {"image": "unconditional-image-generation", "text": "text-generation", "table": "tabular-classification"}


def is_hub_id(name: str) -> bool:
    """Whether a text may name a repository: `owner/name`."""
    return ID.fullmatch(name) is not None and ".." not in name


def lay_out(trained: Trained, folder: Path, repository: str | None = None, licence: str | None = None) -> list[Path]:
    """Write the files of a repository of the model.

    Args:
        trained: the model.
        folder: the output folder; it is created if needed.
        repository: `owner/name`, for the card.
        licence: such as `mit` or `cc-by-4.0`, for the card.

    Returns:
        The paths of the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in FILES:
        if (trained.folder / name).is_file():
            shutil.copyfile(trained.folder / name, folder / name)
            paths.append(folder / name)
    about = {"library": "vaelab", "version": __version__, "architecture": trained.model.architecture}
    write_file(folder / CONFIG, json.dumps(about, indent=2) + "\n")
    write_file(folder / CARD, card(trained, repository, licence))
    return [*paths, folder / CONFIG, folder / CARD]


def card(trained: Trained, repository: str | None = None, licence: str | None = None) -> str:
    """Return the card of a model in Markdown, with the metadata header of the hub and without local paths."""
    known, kind = facts(trained), kind_of(trained)
    tags = ["vaelab", "autoencoder", *(["variational-autoencoder"] if trained.model.has_rate else []), kind,
            "model_hub_mixin", "pytorch_model_hub_mixin"]  # fmt: skip
    header = ["---", "library_name: vaelab", *([f"license: {licence}"] if licence else [])]
    header += [f"pipeline_tag: {PIPELINES[kind]}"] if kind in PIPELINES else []
    header += ["tags:", *(f"- {tag}" for tag in tags), "---"]
    numbers, command = known.pop("numbers", {}), without_places(known.pop("command", ""))
    rows = [f"| {name} | {_cell(value)} |" for name, value in known.items()]
    place = repository or "path/of/this/folder"
    lines = [
        *header, "", f"# {known['model']} of {known['data']}", "",
        f"A {'variational ' if trained.model.has_rate else ''}autoencoder of {kind} data, trained with vaelab.", "",
        "## Use", "", "    pip install vaelab",
        f"    vaelab info {place}", f"    vaelab sample {place} -n 16 -o samples/", "",
        "```python", "import vaelab", "", f'trained = vaelab.load("{place}")', "```", "",
        "Loading it runs no code from this repository: weights are safetensors, and everything else is plain data.", "",
        "## Description", "", "| | |", "|---|---|", *rows,
    ]  # fmt: skip
    if numbers:
        lines += ["", "## Test metrics", "", "| metric | value |", "|---|---|"]
        lines += [f"| {name} | {value:.6g} |" for name, value in numbers.items()]
    if command:
        lines += ["", "## Training command", "", f"    {command}"]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    text = (
        ", ".join(map(str, value))
        if isinstance(value, list)
        else f"{value:,}"
        if isinstance(value, int)
        else str(value)
    )
    return text.replace("|", "\\|").replace("\n", " ")


def push(trained: Trained, repository: str, private: bool = False, licence: str | None = None) -> str:
    """Upload a model with its card, and return its address. The repository is created if needed.

    The token comes from `hf auth login` or from the environment variable HF_TOKEN.

    Raises:
        ConfigError: the name is not the name of a repository.
        UserError: the hub cannot be reached, or refuses.
    """
    from tempfile import TemporaryDirectory

    from huggingface_hub import HfApi

    _check_id(repository)
    api = HfApi(library_name="vaelab", library_version=__version__)
    with TemporaryDirectory(prefix="vaelab-") as scratch:
        lay_out(trained, Path(scratch), repository, licence)
        try:
            address = api.create_repo(repository, private=private, exist_ok=True)
            api.upload_folder(repo_id=repository, folder_path=scratch, commit_message="Upload a model of vaelab")
        except Exception as error:  # the type of the error depends on the version of the client
            raise UserError(
                f"{repository}: could not be uploaded ({_first_line(error)}); log in with hf auth login"
            ) from error
    return str(address)


def pull(repository: str, folder: Path | None = None, revision: str | None = None) -> Path:
    """Download a model, and return its folder.

    Only files that vaelab reads are downloaded. They are checked when the model is loaded.

    Args:
        repository: `owner/name`.
        folder: the output folder; None for the local cache of the hub.
        revision: a branch, tag or commit; None for the newest commit.

    Raises:
        ConfigError: the name is not the name of a repository.
        CheckpointError: the hub cannot be reached, or has no such repository, or that contains no model of vaelab.
    """
    from huggingface_hub import snapshot_download

    _check_id(repository)
    try:
        place = Path(
            snapshot_download(
                repository, revision=revision, local_dir=folder, allow_patterns=[*FILES, CARD, CONFIG],
                library_name="vaelab", library_version=__version__, etag_timeout=10,
            )
        )  # fmt: skip
    except Exception as error:  # see `push`
        raise CheckpointError(f"{repository}: cannot be downloaded from the hub ({_first_line(error)})") from error
    if not (place / "model.json").is_file():
        raise CheckpointError(f"{repository}: holds no model of vaelab (model.json is missing)")
    return place


def _check_id(repository: str) -> None:
    if not is_hub_id(repository):
        raise ConfigError(f"{repository}: is not the name of a repository; use the form owner/name")


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
