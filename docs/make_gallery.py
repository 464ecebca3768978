"""Make docs/gallery.md: every task on every kind of data, by short runs.

python docs/make_gallery.py work/                     # runs what work/ does not hold yet, and writes the page
python docs/make_gallery.py work/ --only generation   # runs of one task; the page is written of all that are there

`work/data` is `paths.data_dir`. `work/` needs `words/german.txt`, a list of words, and `ucr/Crop`, series with labels.
The other data come with packages. A run takes 10 to 60 s of one CPU core.
"""

import argparse
import json
import os
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import BytesIO, StringIO
from itertools import islice
from pathlib import Path

from PIL import Image

from vaelab.cli import train

HERE = Path(__file__).parent
QUIET = ("logger=none", "trainer.enable_progress_bar=false", "extras.print_config=false")
WIDEST = 900  # pixels of a picture
LARGEST = 60_000  # bytes of a PNG; larger ones become JPEG
KINDS = {"images": "Images", "tables": "Tables", "text": "Text", "music": "Music", "series": "Series"}
ORDER = ("images", "tables", "series", "text", "music")  # of the runs: what takes longest comes last
DATA = {
    "images": "data=digits",
    "tables": "data=breast_cancer",
    "text": "data=text data.path=words/german.txt data.limit=8000",
    "music": "data=chorales encoder.width=64 decoder.width=64",
    "series": "data=series data.path=ucr/Crop data.label=label",
}
TASKS = {
    "generation": "New examples, and how close they are to test data.",
    "compression": "What is left of test examples after a code of a few numbers.",
    "denoising": "Corrupted test examples, what the model makes of them, and the clean ones.",
    "anomaly": "Test examples by how badly a model of normal data explains them.",
    "embedding": "The codes of test examples as a map.",
    "disentanglement": "Whether each number of the code stands for one factor of variation.",
}


@dataclass(frozen=True)
class Cell:
    """A run of the gallery.

    Attributes:
        words: of the command line, beside task and data.
        figures: that the page shows, by their names in the run folder.
        numbers: that the page says, without `test/`.
        excerpt: a text file of the run folder of which the page shows the first lines.
        data: the word of another data set than that of its kind.
        note: a sentence under the result.
    """

    task: str
    kind: str
    words: str
    figures: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    excerpt: str = ""
    data: str = ""
    note: str = ""

    @property
    def name(self) -> str:
        """Of the run folder and of pictures."""
        return f"{self.task}_{self.kind}"

    @property
    def command(self) -> list[str]:
        """The words that say what is run."""
        task = [f"task={self.task}"]
        data = (self.data or DATA[self.kind]).split()
        return [*task, *data, *self.words.split()]


CELLS = (
    Cell("generation", "images", "model=vae effort=quick", ("samples",), ("fid", "elbo")),
    Cell("generation", "tables", "model=vae fitted_prior=mixture", ("columns",), ("tstr_fitted", "trtr"),
         "samples/samples.csv"),
    Cell("generation", "text", "model=vae trainer.max_steps=300", (), ("nll", "kl"), "samples/samples.txt"),
    Cell("generation", "music", "model=vae trainer.max_steps=80", ("samples",), ("nll", "kl")),
    Cell("generation", "series", "model=vae trainer.max_steps=300", ("samples",), ("fid", "elbo")),
    Cell("compression", "images", "model=ae latent_dim=8 effort=quick", ("reconstructions",), ("mse", "psnr")),
    Cell("compression", "tables", "model=ae latent_dim=4 shortcut=pca", ("rate_distortion",), ("mse",)),
    Cell("compression", "text", "model=ae trainer.max_steps=300", (), ("mse", "accuracy")),
    Cell("compression", "music", "model=ae trainer.max_steps=80", (), ("mse", "accuracy")),
    Cell("compression", "series", "model=ae latent_dim=8 trainer.max_steps=300", ("reconstructions",), ("mse",)),
    Cell("denoising", "images", "model=ae effort=quick", ("denoised",), ("psnr", "psnr_noisy")),
    Cell("denoising", "tables", "model=ae shortcut=pca", ("denoised", "by_strength"), ("mse", "mse_noisy")),
    Cell("denoising", "text", "model=ae corruption=mask corruption.fraction=0.2 latent_dim=64 trainer.max_steps=300",
         (), ("masked_accuracy",), "texts/denoised.txt"),
    Cell("denoising", "music", "model=ae corruption=mask corruption.fraction=0.2 trainer.max_steps=80", ("denoised",),
         ("masked_accuracy",)),
    Cell("denoising", "series", "model=ae trainer.max_steps=300", ("denoised",), ("mse", "mse_noisy")),
    Cell("anomaly", "images", "data.normal=[8] data.val_fraction=0.3 effort=quick", ("where",),
         ("auroc", "detection_rate")),
    Cell("anomaly", "tables", "data.normal=[benign] effort=quick", ("where",), ("auroc", "detection_rate")),
    Cell("anomaly", "text", "trainer.max_steps=300", ("scores",), ("alarm_rate",), "scores.csv"),
    Cell("anomaly", "music", "trainer.max_steps=80", ("scores",), ("alarm_rate",), "scores.csv"),
    Cell("anomaly", "series", "data.normal=[1] trainer.max_steps=300", ("where",), ("auroc", "detection_rate")),
    Cell("embedding", "images", "model=vae latent_dim=2 effort=quick", ("embedding",),
         ("trustworthiness", "knn_accuracy")),
    Cell("embedding", "tables", "model=vae latent_dim=2 effort=quick", ("embedding",),
         ("trustworthiness", "knn_accuracy")),
    Cell("embedding", "text", "model=vae trainer.max_steps=300", ("embedding",), ("trustworthiness",)),
    Cell("embedding", "music", "model=vae trainer.max_steps=80", ("embedding",), ("trustworthiness",)),
    Cell("embedding", "series", "model=vae latent_dim=2 trainer.max_steps=300", ("embedding",),
         ("trustworthiness", "knn_accuracy")),
    Cell("disentanglement", "images", "model=beta_vae model.beta=4 trainer.max_steps=600", ("factors", "traversals"),
         ("mig", "dci_disentanglement"), data="data=shapes"),
    *(Cell("disentanglement", kind, "") for kind in list(KINDS)[1:]),
)  # fmt: skip


def run(cell: Cell, work: Path) -> None:
    """Train in this process, unless the run is there or was refused before."""
    folder = work / cell.name
    if (folder / "metrics.json").exists() or (work / f"{cell.name}.refused").exists():
        return
    print(" ".join(cell.command), flush=True)
    before = Path.cwd()
    os.chdir(work)
    try:
        with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as errors:
            train([*cell.command, *QUIET, f"paths.output_dir={cell.name}", "paths.data_dir=data"])
    except SystemExit as end:
        if end.code not in (1, 2):  # it was interrupted
            raise
        message = errors.getvalue().strip().splitlines()[-1]
        print(f"  {message}", flush=True)
        (work / f"{cell.name}.refused").write_text(message)
    finally:
        os.chdir(before)
    (work / f"{cell.name}.txt").write_text(out.getvalue() + errors.getvalue())


def section(cell: Cell, work: Path, pictures: Path) -> str:
    """What the page says of a run."""
    head = f"### {KINDS[cell.kind]}: {cell.task}\n\n    python train.py {' '.join(cell.command)}\n"
    refused = work / f"{cell.name}.refused"
    if refused.exists():
        return f"{head}\nThis task does not apply. The program says:\n\n    {refused.read_text()}\n"
    folder = work / cell.name
    parts = [head]
    said = numbers(json.loads((folder / "metrics.json").read_text()), cell.numbers)
    if said:
        parts.append(f"{said}.\n")
    for name in cell.figures:
        file = folder / f"figures/{name}.png"
        if file.exists():
            parts.append(f"![{cell.task} of {cell.kind}: {name}](gallery/{small(file, pictures / cell.name, name)})\n")
    if cell.excerpt:
        lines = list(islice((folder / cell.excerpt).read_text().splitlines(), 9))
        shown = [line[:140] for line in lines]
        parts.append(f"`{cell.excerpt}` begins with:\n\n" + "\n".join(f"    {line}" for line in shown) + "\n")
    if cell.note:
        parts.append(f"{cell.note}\n")
    return "\n".join(parts)


def numbers(metrics: dict[str, float], names: tuple[str, ...]) -> str:
    """Numbers of the test split, each with those of the baselines."""
    said = []
    for name in names:
        if f"test/{name}" not in metrics:
            continue
        ends = f"/{name}"
        others = [
            (key.split("/")[-2], value) for key, value in metrics.items() if "baseline/" in key and key.endswith(ends)
        ]
        beside = ", ".join(f"{other} {value:.3g}" for other, value in others)
        said.append(f"`test/{name}` {metrics[f'test/{name}']:.3g}" + (f" ({beside})" if beside else ""))
    return "; ".join(said)


def small(file: Path, stem: Path, name: str) -> str:
    """Write a picture small, and give the name of its file."""
    picture = Image.open(file).convert("RGB")
    if picture.width > WIDEST:
        picture = picture.resize((WIDEST, round(picture.height * WIDEST / picture.width)), Image.Resampling.LANCZOS)
    with BytesIO() as content:
        picture.quantize(64, dither=Image.Dither.NONE).save(content, "PNG", optimize=True)
        data, suffix = content.getvalue(), "png"
    if len(data) > LARGEST:
        with BytesIO() as content:
            picture.save(content, "JPEG", quality=80, optimize=True)
            data, suffix = content.getvalue(), "jpg"
    target = stem.with_name(f"{stem.name}_{name}.{suffix}")
    target.write_bytes(data)
    return target.name


def page(cells: list[Cell], work: Path) -> str:
    """The whole page."""
    pictures = HERE / "gallery"
    pictures.mkdir(exist_ok=True)
    for old in pictures.iterdir():
        old.unlink()
    kinds = [kind for kind in KINDS if any(cell.kind == kind and cell.figures for cell in cells)]
    parts = [HEAD + "".join(f"| {kind} | {ABOUT[kind]} |\n" for kind in kinds)]
    for task, what in TASKS.items():
        if not any(cell.task == task for cell in cells):
            continue
        parts.append(f"## {task.capitalize()}\n\n{what} [More](tasks/{task}.md)\n")
        parts.extend(section(cell, work, pictures) for cell in cells if cell.task == task)
    return "\n".join(parts)


HEAD = """# Gallery

What every task gives on every kind of data, by runs of 10 to 60 s on one CPU core. Longer runs give better results. The
runs of this page had `logger=none` beside the command. Pictures and files are those that a run wrote into its folder.
Numbers in brackets are the baselines that the run measured itself. The page is made by `docs/make_gallery.py`.

| kind | data of this page |
|---|---|
"""
ABOUT = {
    "images": "handwritten digits of 8 x 8 pixels, which come with scikit-learn; generated shapes for disentanglement",
    "tables": "breast cancer: 569 rows of 30 numbers, which come with scikit-learn",
    "text": "8,000 words of a list of German words, one a line",
    "music": "Bach's chorales in four voices, which come with music21",
    "series": "Crop of the UCR archive: 46 steps each, 24 classes of land",
}


def main() -> None:
    """Run what is missing, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--only", default="", help="part of the name of runs, such as generation or denoising_text")
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    for cell in sorted(CELLS, key=lambda cell: ORDER.index(cell.kind)):
        if arguments.only in cell.name:
            run(cell, work)
    there = [
        cell
        for cell in CELLS
        if (work / cell.name / "metrics.json").exists() or (work / f"{cell.name}.refused").exists()
    ]
    (HERE / "gallery.md").write_text(page(there, work))


if __name__ == "__main__":
    main()
