"""The order of the rooms: what imports what. An import against it fails here and is named."""

import ast
from collections.abc import Iterator
from pathlib import Path

import vaelab

SOURCE = Path(vaelab.__file__).parent
# From the top down: a room imports those below it and itself, and none of its own line or above.
ROOMS = (
    ("sklearn",),  # scikit-learn's methods, in front of a run
    ("__main__", "start", "cli"),  # the command; each imports the next
    # what a TAB completes; what W&B shows of runs; what a machine has; files of a new project
    ("completion", "dashboard", "doctor", "new_project"),
    ("rerun", "reproduce"),  # a run done again, and compared; an experiment, and whether its number holds
    ("runs",),  # every run in a folder
    ("sweep", "search"),  # many runs
    ("sweep_page",),  # how they end: table, figures, page
    ("explore",),  # a page in the browser for a trained model
    ("compare", "commands"),  # finished runs beside each other; what the shell does with a trained model
    ("launch",),  # processes and jobs of SLURM
    ("command_line", "job_folder"),  # a user's own settings, and errors for people; the run folder of a job
    ("run",),  # one run
    ("record",),  # what a run leaves, trackers
    ("trained",),  # a trained model as a tool: files and objects in, the same kind out
    ("check", "settings"),  # the whole config, checked
    ("tasks",),  # one folder a task
    ("evaluation",),  # encoded splits, scores, sample quality, baselines
    ("training",),  # the module, loop, compilation, precision, meters
    ("models",),  # objectives; building and saving a model
    ("latents",),  # codes, posteriors, priors
    ("likelihoods",),
    ("backbones",),
    ("data",),
    ("corruptions",),
    ("core",),  # what data is, a batch of it, noise, metrics
    ("config", "figures"),  # Hydra's config as plain data; pictures
)
WITHIN = {("check", "settings"), ("__main__", "start"), ("start", "cli")}  # pairs within a line
# Everything else in the package are files that know of none of these: errors, secrets, signals, notes and the like.


def test_every_room_has_a_place_in_the_order() -> None:
    folders = {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders <= {room for line in ROOMS for room in line}


def test_imports_go_down() -> None:
    order = {room: place for place, line in enumerate(ROOMS) for room in line}
    upward = sorted(
        f"{file.relative_to(SOURCE)} imports {module}"
        for file in SOURCE.rglob("*.py")
        for module in imported(file)
        if not allowed(room_of(file), module.split(".")[1], order)
    )
    assert not upward, "\n".join(upward)


def allowed(room: str, imported: str, order: dict[str, int]) -> bool:
    if room == imported or room == "__init__" or (room, imported) in WITHIN or imported not in order:
        return True
    return order.get(room, len(order)) < order[imported]


def room_of(file: Path) -> str:
    return file.relative_to(SOURCE).with_suffix("").parts[0]


def imported(file: Path) -> Iterator[str]:
    """Modules of the package, wherever in the file they are imported."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vaelab"):
            found = (
                [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "vaelab" else [node.module]
            )
            yield from (name for name in found if name and "." in name)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("vaelab."))
