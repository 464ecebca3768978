"""Every figure that vaelab draws is described in the registry."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import vaelab
from in_memory_music import piece
from series_files import waves
from vaelab.captions import CAPTIONS, caption, in_order

SOURCE = Path(vaelab.__file__).parent
DRAWING = ("tasks", "record", "compare", "data")  # rooms that name figures
HOLDERS = ("figures", "pictures")  # what they are kept in


def test_every_name_in_the_code_is_described() -> None:
    found = {name: file for room in DRAWING for file in (SOURCE / room).rglob("*.py") for name in names_in(file)}
    assert {"samples", "denoised", "roc_pr", "where", "distribution", "latent_spectrum", "curves"} <= set(found)
    missing = [f"{file.relative_to(SOURCE)}: {name}" for name, file in found.items() if name not in CAPTIONS]
    assert not missing, "\n".join(missing)


RUNS = {
    "generation": ["task=generation", "task.nll_samples=2", "model.condition=label"],
    "compression": ["task=compression"],
    "embedding": ["task=embedding", "latent_dim=2"],
    "disentanglement": ["task=disentanglement", "task.examples=300", "task.trees=2", "task.votes=50"],
    "denoising": ["task=denoising", "task.strengths=[0.1,1e-5]", "encoder=mlp", "decoder=mlp", "latent=vector"],
    "anomaly": ["task=anomaly", "data.normal=[0]", "task.resamples=100"],
    "series": ["task=generation", "data=series", "data.path=waves.npy", "task.nll_samples=2"],
    "rows": ["task=generation", "data=table", "data.path=rows.csv", "task.nll_samples=2", "trainer.max_epochs=2"],
    "music": ["task=generation", "data=midi", "data.path=songs", "data.steps=16", "task.nll_samples=2",
              "task.fid_samples=4", "encoder.width=16", "decoder.width=16"],
}  # fmt: skip


@pytest.mark.parametrize("kind", RUNS)
@pytest.mark.long
def test_every_figure_of_a_run_is_described(
    kind: str, train: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if kind == "series":
        np.save("waves.npy", waves(40))
    elif kind == "rows":
        values = np.random.default_rng(0).normal(size=(120, 3))
        np.savetxt("rows.csv", values, delimiter=",", header="a,b,c", comments="", fmt="%.3f")
    elif kind == "music":
        pytest.importorskip("mido")
        from vaelab.data.music.midi_files import write_midi

        (tmp_path / "songs").mkdir()
        for number in range(8):
            (tmp_path / "songs" / f"{number}.mid").write_bytes(write_midi(piece("", number, 30 + number).voices, 4))
    folder = train("latent_dim=4", "trainer.max_epochs=1", f"paths.data_dir={tmp_path}", *RUNS[kind])
    drawn = {path.stem for path in (folder / "figures").iterdir()}
    assert len(drawn) > 1
    assert not [name for name in drawn if not caption(name)]


def test_captions_are_sentences() -> None:
    assert all(text[0].isupper() and text.endswith(".") and len(text) > 20 for text in CAPTIONS.values())


def test_a_strength_is_said_and_an_unknown_figure_has_no_caption() -> None:
    assert caption("denoised_at_0.3") == f"{CAPTIONS['denoised']} The strength of the corruption is 0.3."
    assert caption("denoised_at_1e-05").endswith(" is 1e-05.")
    assert caption("a_figure_of_mine") == ""
    assert caption("mine_at_0.3") == ""


def test_results_come_before_curves() -> None:
    names = ["curves", "denoised_at_0.5", "mine", "denoised_at_0.1", "by_strength", "denoised"]
    assert in_order(names) == ["denoised", "denoised_at_0.1", "denoised_at_0.5", "by_strength", "mine", "curves"]


def names_in(file: Path) -> Iterator[str]:
    """Names that the code of a file gives to figures, strengths left out."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Subscript) and holds_figures(target.value):
                    yield from text_of(target.slice)
                elif holds_figures(target) and node.value is not None:
                    yield from keys(node.value)
        elif isinstance(node, ast.FunctionDef) and node.returns and ast.unparse(node.returns) == "dict[str, Figure]":
            for inner in ast.walk(node):
                if isinstance(inner, ast.Return) and inner.value is not None:
                    yield from keys(inner.value)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("compared", "pictures") and node.args:
            yield from text_of(node.args[0])


def holds_figures(node: ast.expr) -> bool:
    return getattr(node, "id", getattr(node, "attr", None)) in HOLDERS


def keys(node: ast.expr) -> Iterator[str]:
    """Of a dict, or of several that are joined; not of those that are arguments."""
    if isinstance(node, ast.Dict):
        for key in node.keys:
            if key is not None:
                yield from text_of(key)
    elif isinstance(node, ast.BinOp):
        yield from keys(node.left)
        yield from keys(node.right)


def text_of(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.JoinedStr) and node.values:
        node = node.values[0]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
