"""No `model.json` makes this process import, open, write or run anything but what a model of this package is.

Every name under the libraries that a config may draw on is tried in every place, with paths, nodes, texts and absurd
numbers as arguments, while an audit hook listens.
"""

import ast
import importlib
import itertools
import json
import random
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

import vaelab
from vaelab.check import COLLECTIONS, COMPONENTS
from vaelab.config import builder
from vaelab.config.builder import Builder
from vaelab.config.location import config_dir
from vaelab.config.signature import arguments
from vaelab.core.spec import Column, DataSpec
from vaelab.errors import ConfigError, UserError
from vaelab.models.building import LATENT_PARTS, PARTS, build_model
from vaelab.models.saved_model import save_model
from vaelab.models.schedules import Schedule

PACKAGE = Path(vaelab.__file__).parent
LIBRARIES = ("vaelab", "torch.nn", "torch.optim", "lightning.pytorch", "torchmetrics")
ROOMS = (
    "vaelab.models",
    "vaelab.backbones",
    "vaelab.latents",
    "vaelab.likelihoods",
)  # what parts of a model.json may come from
SPECS = {
    "image": DataSpec("squares", "image", (1, 8, 8), "unit", 17),
    "table": DataSpec("rows", "table", (2,), "mixed", columns=(Column("a"), Column("b", ("x", "y"))), has_missing=True),
    "tokens": DataSpec("words", "tokens", (6,), "categories", 5, has_missing=True),
    "series": DataSpec("waves", "series", (2, 9), "real"),
}

PACKAGE = str(Path(vaelab.__file__).parent)


class Ear:
    """Hears what Python itself does. An audit hook cannot be taken out again, so it is one that can be switched off."""

    HARM = re.compile(
        r"(os|shutil|subprocess|socket|tempfile|ctypes|urllib|http|ftplib|smtplib|pty|webbrowser|sqlite3|mmap|fcntl"
        r"|pickle|marshal|glob|pathlib|signal|code)\.|open$|import$|exec$|compile$"
    )

    def __init__(self) -> None:
        self.on = False
        self.heard: list[tuple[Any, ...]] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, about: tuple[Any, ...]) -> None:
        if self.on and self.HARM.match(event):
            self.heard.append((event, *map(str, (*about, "", "")[:2])))

    def __enter__(self) -> "Ear":
        self.heard, self.on, self._modules = [], True, len(sys.modules)
        return self

    def __exit__(self, *_: object) -> None:
        self.on = False

    def harm(self, folder: Path | None = None, rooms: tuple[str, ...] = ROOMS) -> list[tuple[Any, ...]]:
        """What goes beyond reading the model's own files, and looking for modules of some rooms."""
        new = [("imported", name) for name in list(sys.modules)[self._modules :] if not _lies_in(name, rooms)]
        own = [] if folder is None else [f"{folder}/model/model.json", f"{folder}/model/model.safetensors"]
        return new + [found for found in self.heard if not self._harmless(*found, own, rooms)]

    @staticmethod
    def _harmless(event: str, what: str, how: str, own: list[str], rooms: tuple[str, ...]) -> bool:
        if what.startswith(str(config_dir())):  # a message lists the options that would fit
            return event in ("os.scandir", "pathlib.Path.glob") or (event == "open" and how == "r")
        if event == "compile" and what.startswith("b'def foo("):  # `inspect` parses the signature of `object` so
            return True
        if event == "os.listdir":  # of the import system, which looks again at folders of the package that have changed
            return what.startswith(PACKAGE) or any(what.endswith(room.replace(".", "/")) for room in rooms)
        return (event == "open" and what in own and how in ("r", "rb")) or (event == "import" and _lies_in(what, rooms))

    def harm_of_imports(self) -> list[tuple[Any, ...]]:
        """What goes beyond reading and running modules."""
        reading = {"import", "exec", "compile", "marshal.loads", "os.listdir"}
        return [f for f in self.heard if f[0] not in reading and not (f[0] == "open" and f[2] in ("r", "rb"))]


EAR = Ear()


def _lies_in(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def names(library: str) -> Iterator[str]:
    """Every class and function at the top of every module, and what else those have imported; nothing is imported."""
    where = find_spec(library)
    assert where is not None
    assert where.submodule_search_locations
    root = Path(where.submodule_search_locations[0])
    for path in sorted(root.rglob("*.py")):
        inner = path.relative_to(root).with_suffix("").parts
        module = ".".join((library, *(inner[:-1] if inner[-1] == "__init__" else inner)))
        text = path.read_text(encoding="utf-8")
        if library == "vaelab":
            for part in ast.parse(text).body:
                if isinstance(part, ast.Import | ast.ImportFrom):
                    yield from (f"{module}.{(a.asname or a.name).partition('.')[0]}" for a in part.names)
                elif isinstance(part, ast.ClassDef | ast.FunctionDef):
                    yield f"{module}.{part.name}"
        else:
            yield from (f"{module}.{name}" for name in re.findall(r"^(?:class|def) (\w+)", text, re.MULTILINE))


ALL = sorted({name for library in LIBRARIES for name in names(library)})
INSIDE = [name for name in ALL if _lies_in(name, ROOMS)]
OUTSIDE = [name for name in ALL if not _lies_in(name, ROOMS)] + [
    *(
        "os.system",
        "subprocess.run",
        "builtins.eval",
        "builtins.open",
        "torch.load",
        "torch.hub.load",
        "torch.jit.load",
    ),
    *("vaelab", "vaelab.models", "vaelab.models.", ".vaelab.models.VAE", "vaelab..models.VAE", "", ".", "VAE", "\0"),
    *("vaelab.models.model.L.LightningModule", "vaelab.models.ae.nn.Identity", "vaelab.models.VAE.__init__"),
    *("vaelab.models.VAE.load_from_checkpoint", "vaelab.models.model.__builtins__", "vaelab.models/../record.export"),
]


def node(option: Path) -> dict[str, Any]:
    """Of an option in `conf/`, small: what is tried is not how well it learns."""
    read: dict[str, Any] = yaml.safe_load(option.read_text(encoding="utf-8"))
    small = {"widths": [4], "hidden": [4], "width": 8, "heads": 2}
    return {key: small.get(key, value) for key, value in read.items() if key != "defaults"}


def abouts() -> dict[str, dict[str, Any]]:
    """A `model.json` for each option of each group, by its place and name."""
    found: dict[str, dict[str, Any]] = {}
    mine = {
        group: {path.stem: node(path) for path in sorted((config_dir() / group).glob("*.yaml"))}
        for group in ("encoder", "decoder", "likelihood", "model/schedule")
    }
    mine["model"] = {name: node(config_dir() / f"model/{name}.yaml") for name in ("ae", "vae")}
    mine["model"]["vae"]["schedule"] = mine["model/schedule"]["constant"]
    usual = {
        "image": ("mlp", "mlp", "discretized_logistic"),
        "table": ("mlp", "mlp", "mixed"),
        "tokens": ("gru", "gru", "categorical"),
        "series": ("gru", "gru", "gaussian"),
    }
    for kind, (encoder, decoder, likelihood) in usual.items():
        about = {"encoder": mine["encoder"][encoder], "decoder": mine["decoder"][decoder]}
        about |= {"likelihood": mine["likelihood"][likelihood], "model": mine["model"]["vae"]}
        about |= {"latent_dim": 2, "spec": SPECS[kind].to_json()}
        found[f"all/{kind}"] = about
        changes = [{group: chosen} for group in PARTS for chosen in mine[group].values()]
        changes += [
            {"model": mine["model"]["vae"] | {"schedule": chosen}} for chosen in mine["model/schedule"].values()
        ]
        for change in changes:
            try:
                build_model(about | change, Builder())
            except ConfigError:
                continue
            ((group, chosen),) = change.items()
            found.setdefault(f"{group}/{json.dumps(chosen)}", about | change)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("hostile")
    save_model(build_model(abouts()["all/image"], Builder()), made / "model")
    vaelab.load(made)  # what is imported late, such as the meta device's own modules, is imported by now
    for module, name in sorted({(name.rpartition(".")[0], name.rpartition(".")[2]) for name in INSIDE}):
        target = getattr(importlib.import_module(module), name)
        for key in arguments(target) if callable(target) else ():
            builder._adapter(target, key)
    return made


def attempt(folder: Path, about: Any) -> str:
    """Load a folder with this `model.json`; says what was refused. Anything but one message fails the test."""
    (folder / "model" / "model.json").write_text(about if isinstance(about, str) else json.dumps(about))
    with EAR:
        try:
            model = vaelab.load(folder).model
        except UserError as error:
            said = str(error)
        else:
            said = ""
            assert all(type(part).__module__.startswith((*ROOMS, "torch.nn.modules")) for part in model.modules())
    assert not (harm := EAR.harm(folder)), (harm, about)
    assert said.isprintable(), about
    assert len(said) < 1_000, about
    return said


def harmful(folder: Path) -> list[Any]:
    """Values that would do something if they were built or opened."""
    mark = str(folder / "mark")
    writes = {"_target_": "vaelab.atomic_write.write_file", "path": mark, "content": "x"}
    loads = {"_target_": "vaelab.models.saved_model.load_model", "run": str(folder), "trusted": ["os", "subprocess"]}
    identity = {"_target_": "torch.nn.Identity", "x": writes}
    schedule = {"_target_": "vaelab.models.schedules.Constant"}
    return [
        *(writes, loads, identity, schedule, {"_target_": "os.system", "command": f"touch {mark}"}),
        *([writes], {"a": writes}, {"a": schedule}, {"a": [{"b": writes}]}, {"_target_": None}, {"_target_": []}),
        *(mark, f"file://{mark}", "/etc/passwd", f"!touch {mark}", "os.system", "__import__('os')", "${oc.env:HOME}"),
        *(0, -1, 10**12, 10**30, 1e308, 0.5, True, None, [], [0], [10**12], [4] * 200, {}, {"a": 1}, "", "auto"),
    ]


def places(about: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Paths to everything in a `model.json` that a node could stand in place of, and to what its classes take."""
    yield from ((key,) for key in about)
    yield from (("spec", key) for key in about["spec"])
    for group, part in about.items():
        if isinstance(part, dict) and "_target_" in part:
            named = {*part, "path", "trusted", "_args_", "_partial_", "_recursive_", "__class__", "kwargs"}
            named |= arguments(Builder().resolve(part, group, PARTS[group])).keys()
            yield from ((group, key) for key in sorted(named))
            if group == "model" and "schedule" in part:
                yield from ((group, "schedule", key) for key in sorted({*part["schedule"], "steps", "path"}))


def changed(about: Any, path: tuple[str, ...], value: Any) -> Any:
    if not path:
        return value
    return {**about, path[0]: changed(about.get(path[0], {}), path[1:], value)}


FIT = ("MLPEncoder", "MLPDecoder", "Schedule", "Constant", "DiscretizedLogistic", "Vector", "Gaussian",
       "StandardNormal", "VAE")  # fmt: skip
KINDS = PARTS | LATENT_PARTS | {"schedule": Schedule}
PLACES = [("encoder",), ("decoder",), ("likelihood",), ("model",), ("model", "schedule"), ("encoder", "hidden"),
          ("encoder", "zzz"), ("decoder", "activation"), ("spec",), ("latent_dim",)]  # fmt: skip


@pytest.mark.long
def test_no_name_outside_the_rooms_of_a_model_is_imported(folder: Path) -> None:
    about, maker = abouts()["all/image"], Builder()
    with EAR:
        for target, (where, kind) in itertools.product(OUTSIDE, KINDS.items()):
            with pytest.raises(ConfigError):
                maker.resolve({"_target_": target}, where, kind)
    assert not EAR.harm(rooms=())
    for target, path in zip(OUTSIDE[::12] + OUTSIDE[-30:], itertools.cycle(PLACES), strict=False):
        said = attempt(folder, changed(about, path, {"_target_": target, "path": str(folder / "mark")}))
        assert ".".join(path) in said, target
    assert sorted(path.name for path in folder.rglob("*")) == ["model", "model.json", "model.safetensors"]


def test_only_what_is_of_the_kind_is_built_from_the_rooms_of_a_model(folder: Path) -> None:
    about, tried = abouts()["all/image"], 0
    for target, (where, kind) in itertools.product(INSIDE, KINDS.items()):
        with EAR:
            try:
                Builder().resolve({"_target_": target}, where, kind)
            except ConfigError:
                continue
            finally:
                assert not EAR.harm(), (target, EAR.harm())
        path = ("model", where) if where == "schedule" else (where,)
        said = attempt(folder, changed(about, path, {"_target_": target}))
        assert said or target.endswith(FIT), target
        tried += 1
    assert tried > 50


def variations(folder: Path) -> list[tuple[dict[str, Any], tuple[str, ...], Any]]:
    values = harmful(folder)
    return [(about, path, value) for about in abouts().values() for path in places(about) for value in values]


def test_no_argument_makes_a_model_do_anything_else(folder: Path) -> None:
    every = variations(folder)
    for about, path, value in random.Random(0).sample(every, 600):
        attempt(folder, changed(about, path, value))
    assert not (folder / "mark").exists()


@pytest.mark.parametrize(
    "count", [pytest.param(300, marks=pytest.mark.long), pytest.param(6_000, marks=pytest.mark.chaos)]
)
def test_no_argument_of_any_makes_a_model_do_anything_else(folder: Path, count: int) -> None:
    abouts_image = abouts()["all/image"]
    for about, path, value in random.Random(1).sample(variations(folder), count):
        attempt(folder, changed(about, path, value))
    every = list(itertools.product(ALL, PLACES[:6]))
    for target, path in random.Random(2).sample(every, min(count, len(every))):
        attempt(folder, changed(abouts_image, path, {"_target_": target}))
    assert not (folder / "mark").exists()


@pytest.mark.parametrize("group", [*COMPONENTS, *COLLECTIONS])
def test_a_config_is_checked_without_doing_anything(folder: Path, group: str) -> None:
    """In every place of a whole config, too, nothing but the rooms of its kind is imported, and nothing is built."""
    kind, values = {**COMPONENTS, **COLLECTIONS}[group], itertools.cycle(harmful(folder))
    rooms = Builder()._rooms((kind,))
    tried = [n for n in ALL if _lies_in(n, rooms)] + [n for n in ALL if not _lies_in(n, rooms)][::5]
    for target, value in zip(tried, values, strict=False):
        with EAR, suppress(ConfigError):
            Builder().check({"_target_": target, "path": value, "hidden": value, "fn": value}, group, kind)
        harm = EAR.harm_of_imports() if _lies_in(target, rooms) else EAR.harm(rooms=())
        assert not harm, target
