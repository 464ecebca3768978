"""Pages of the site that are made from other files when it is built, so that they cannot go stale.

MkDocs calls `on_files`. It adds:

- the first page, from README.md
- the changelog, how to contribute, and how to report a vulnerability
- the reference of the config, from `conf/`, signatures and docstrings
- the tutorials, from notebooks
"""

import base64
import importlib
import inspect
import json
import re
from pathlib import Path
from typing import Any, get_args, get_origin

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from omegaconf import OmegaConf

from vaelab.config.help import SENTENCE_GROUPS, summary
from vaelab.config.location import config_dir
from vaelab.config.signature import arguments

ROOT = Path(__file__).parents[1]
COPIED = {
    "README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md", "CODE_OF_CONDUCT.md": "conduct.md",
}  # fmt: skip
SOURCE = "https://github.com/vaelab/vaelab/blob/main"  # of files that the site does not have
WORDS = {"experiment", "sweep", "launcher", "debug", "callbacks", "logger"}  # groups whose options have no class


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for source, page in COPIED.items():
        files.append(File.generated(config, page, content=_relinked((ROOT / source).read_text())))
    files.append(File.generated(config, "reference/config.md", content=config_reference()))
    for notebook in sorted((ROOT / "docs/tutorials").glob("*.ipynb")):
        page, pictures = tutorial(notebook)
        files.append(File.generated(config, f"tutorials/{notebook.stem}.md", content=page))
        for name, content in pictures.items():
            files.append(File.generated(config, f"tutorials/{name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links to notebooks lead to their pages, and links to files that are no pages to the repository."""
    markdown = re.sub(r"\]\(((?:tutorials/)\w+)\.ipynb\)", r"](\1.md)", markdown)  # a page, where there is one
    depth = "../" * (page.file.src_uri.count("/") + 1)
    return re.sub(rf"\]\({re.escape(depth)}((?!docs/)[\w./-]+)\)", rf"]({SOURCE}/\1)", markdown)


def _relinked(text: str) -> str:
    """Links from the root of the repository, as the site has them."""
    for source, page in COPIED.items():
        text = text.replace(f"]({source})", f"]({page})")
    return text.replace("](docs/clusters)", "](clusters/README.md)").replace("](docs/", "](")


def tutorial(notebook: Path) -> tuple[str, dict[str, bytes]]:
    """A notebook as a page in Markdown, and its pictures by name."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in json.loads(notebook.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(re.sub(r"\]\((\w+)\.ipynb\)", r"](\1.md)", source))
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {"text/plain": output.get("text", "")})
            kind = next((kind for kind in data if kind.startswith("image/")), None)
            if kind is not None:
                name = f"{notebook.stem}_{len(pictures)}.{kind.removeprefix('image/')}"
                pictures[name] = base64.b64decode("".join(data[kind]))
                parts.append(f"![what the code above shows]({name})")
            elif "text/html" in data:
                parts.append(re.sub(r"<style.*?</style>\s*", "", "".join(data["text/html"]), flags=re.DOTALL))
            else:
                parts.append(f"```text\n{''.join(data['text/plain']).rstrip()}\n```")
    parts.insert(1, f"[This page as a notebook]({notebook.name})")
    return "\n\n".join(parts), pictures


def config_reference() -> str:
    """Every group, option and key."""
    parts = [
        "# Config reference\n\nEvery group and option of the command line, with its keys. This page is made from "
        "`conf/` and from signatures.\n\n    python train.py model=beta_vae model.beta=8\n\nA default in the table is "
        "that of the option. Some follow from another word, such as `data`.\n"
    ]
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        for group in SENTENCE_GROUPS:
            options = sorted((config_dir() / group).glob("*.yaml"))
            parts.append(f"\n## {group}\n")
            for option in options:
                parts.append(_option(group, option))
    return "".join(parts)


def _option(group: str, option: Path) -> str:
    head = f"\n### `{group}={option.stem}`\n\n{_sentence(summary(option))}\n"
    if group in WORDS or "/" in group:
        return head
    try:
        node = compose("train", [f"{group}={option.stem}"])[group]
    except HydraException:  # it needs another word beside it, and is described by its own file
        node = OmegaConf.load(option)
    plain: Any = OmegaConf.to_container(node, resolve=False)
    if not isinstance(plain, dict):
        return head
    target = _class(plain.get("_target_"))
    told = _told(option.read_text()) | ({} if target is None else _documented(target))
    hints = {} if target is None else arguments(target)
    kinds = {key: _type(hints[key].hint) for key in plain if key in hints}
    rows = [
        f"| `{group}.{key}` | `{_value(value)}` | {kinds.get(key, '')} | {told.get(key, '')} |"
        for key, value in plain.items()
        if key not in ("_target_", "defaults") and not isinstance(value, dict)
    ]
    table = ["\n| key | default | type and range | what |", "|---|---|---|---|", *rows] if rows else []
    return head + "\n".join(table) + "\n"


def _class(name: Any) -> Any:
    """What `_target_` names; None for none."""
    if not isinstance(name, str):
        return None
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def _told(text: str) -> dict[str, str]:
    """The comment behind each key of a YAML file."""
    found = re.findall(r"^\s*(\w+):[^#\n]*#\s*(.+)$", text, re.MULTILINE)
    return {key: _cell(comment) for key, comment in found}


def _documented(target: Any) -> dict[str, str]:
    """What the docstring of a class, and those of its parents, say of each argument."""
    found: dict[str, str] = {}
    for kind in reversed(inspect.getmro(target)) if inspect.isclass(target) else (target,):
        block = re.search(r"^Args:\n((?:[ ]{4}.*\n?|\n)+)", inspect.cleandoc(kind.__doc__ or "") + "\n", re.MULTILINE)
        for names, text in re.findall(
            r"^    ([\w, *]+): ((?:.+\n?)(?:        .*\n?)*)", block[1] if block else "", re.M
        ):
            if not text.startswith("see "):
                found |= {name.strip(): _cell(text) for name in names.split(",")}
    return found


def _type(hint: Any) -> str:
    """A type in words."""
    origin, inner = get_origin(hint), get_args(hint)
    if hasattr(hint, "__metadata__"):
        bounds = [_bound(one) for one in hint.__metadata__]
        return ", ".join([_type(inner[0]), *filter(None, bounds)])
    if str(origin).endswith("Literal"):
        return " or ".join(f"`{one}`" for one in inner)
    if inner and (origin is None or "Union" in str(origin)):
        return " or ".join("`null`" if one is type(None) else _type(one) for one in inner)
    if origin in (list, tuple) or str(origin).endswith("Sequence"):
        return f"list of {_type(inner[0])}" if inner else "list"
    names = {int: "whole number", float: "number", str: "text", bool: "`true` or `false`"}
    return names.get(hint, getattr(hint, "__name__", ""))


def _bound(bound: Any) -> str:
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    said = [f"{sign} {getattr(bound, name)}" for name, sign in signs.items() if getattr(bound, name, None) is not None]
    return " ".join(said)


def _value(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("." if text and text[-1] not in ".;:" else "")
