"""The page that `--help` prints, made from the first comment of each option's YAML file.

Hydra's own help composes the config and lists every group twice; this reads only first lines, so it
is fast, and it describes each option.
"""

import shutil
import textwrap
from pathlib import Path

from vaelab.config.usual import read_usual

SENTENCE_GROUPS = (
    "task", "data", "model", "model/schedule", "encoder", "decoder", "latent", "posterior", "prior", "shortcut",
    "adversary", "perceptual", "fitted_prior", "likelihood", "corruption",
    "optimizer", "scheduler", "trainer", "logger", "callbacks", "experiment", "launcher", "sweep",
    "debug",
)  # fmt: skip

PAGE = """\
vaelab: train an autoencoder or a variational autoencoder.

  python train.py task=denoising data=fashion_mnist model=ae encoder=conv latent_dim=32

trains for this task, on this data, with this model and these backbones. Without overrides, it
trains a VAE on handwritten digits, in under a minute, without network access or an account.

{settings}
{options}
{usual}
Any value inside an option is a key:  model.beta=4  encoder.hidden=[512,512]  trainer.max_epochs=20

  python train.py --cfg job [overrides]        print the composed config, and run nothing
  python train.py -m latent_dim=2,8,32         a sweep: one run for each value
  python train.py -m latent_dim=2,8 launcher=joblib   several runs at once; launcher=slurm: on a cluster
  python train.py sweep=optuna                 search hyperparameters, and write a page with the results
  python train.py sweep=wandb                  the same as a sweep of W&B, whose agents start the runs
  python train.py resume=<run or sweep>        resume a run, or the unfinished jobs of a sweep, in its folder
  python train.py train=false ckpt_path=<run>  evaluate a trained model; vaelab eval <run> is the same
  python train.py callbacks=[early_stopping,rich] logger=[wandb,mlflow]
                                               choose several options of one group
  python train.py --config-dir mine ...        use your own options too
  python train.py --hydra-help                 all flags of Hydra
  vaelab completion bash                       complete options and keys with TAB, also in zsh and fish
  vaelab rerun <run>                           repeat a run, and compare the results
  vaelab compare <folder> ...                  compare finished runs in one table and one figure
  vaelab dashboard <folder> ...                make W&B workspaces, and a report that compares runs

The README shows results. docs/coming_from.md translates the commands of lightning-hydra-template.
"""


USUAL = "added for some combinations of data and task, unless your own words replace it (conf/usual.yaml)\n"


def summary(option: Path) -> str:
    """Return the first comment line of an option's YAML file; empty if there is none."""
    with option.open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("#") and "@package" not in line:
                return line.lstrip("# ").strip()
            if line.strip() and not line.startswith("#"):
                break
    return ""


def settings(config: Path) -> list[tuple[str, str]]:
    """Return the root keys of `train.yaml`, each with the comment after it."""
    rows = []
    for line in (config / "train.yaml").read_text(encoding="utf-8").splitlines():
        if line[:1].isalpha() and "#" in line:
            key, comment = line.split("#", 1)
            rows.append((key.replace(": ", "=").strip(), comment.strip()))
    return rows


def help_page(folders: list[Path]) -> str:
    """Render the page for the given config folders, vaelab's own first."""
    width = min(shutil.get_terminal_size().columns, 110)

    def table(rows: list[tuple[str, str]]) -> str:
        column = max(len(name) for name, _ in rows) + 2
        hanging = " " * (column + 2)
        return "\n".join(
            textwrap.fill(text, width, initial_indent=f"  {name:<{column}}", subsequent_indent=hanging)
            if text
            else f"  {name}"
            for name, text in rows
        )

    def options(group: str) -> list[tuple[str, str]]:
        found = {p.stem: p for folder in reversed(folders) for p in sorted((folder / group).glob("*.yaml"))}
        return [(name, summary(path)) for name, path in sorted(found.items())]

    usual = [(" ".join(one.beside_words), f"{' '.join(one.words)}: {one.why}") for one in read_usual(folders[0])]
    own = {p.name for folder in folders[1:] for p in folder.iterdir() if p.is_dir()}
    blocks = [
        f"{group}=\n{table(rows)}\n"
        for group in dict.fromkeys((*SENTENCE_GROUPS, *sorted(own)))
        if (rows := options(group))
    ]
    return PAGE.format(
        settings=table(settings(folders[0])) + "\n", options="\n".join(blocks), usual=USUAL + table(usual) + "\n"
    )
