"""The page that `--help` prints, made from the comment at the top of each option's YAML.

Hydra's own help composes the config and lists every group twice; this reads first lines only, so it
is quick and says what each option is.
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

reads as a sentence: for this task, on this data, with this model, these backbones. Without
overrides it trains a VAE on handwritten digits, in under a minute, with no network and no account.

{settings}
{options}
{usual}
Any value inside an option is a key:  model.beta=4  encoder.hidden=[512,512]  trainer.max_epochs=20

  python train.py --cfg job [overrides]        the composed config, nothing is run
  python train.py -m latent_dim=2,8,32         one run for each value
  python train.py -m latent_dim=2,8 launcher=joblib   several at once; launcher=slurm: on a cluster
  python train.py sweep=optuna                 search hyperparameters, with a page of the result
  python train.py sweep=wandb                  the same as a sweep of W&B, whose agent starts the runs
  python train.py resume=<run or sweep>        go on with a run, or run what is missing of a sweep, in its folder
  python train.py train=false ckpt_path=<run>  evaluate a trained run only; vaelab eval <run> is the same
  python train.py callbacks=[early_stopping,rich] logger=[wandb,mlflow]
                                               several options of one group
  python train.py --config-dir mine ...        your own options beside these
  python train.py --hydra-help                 every flag of Hydra
  vaelab completion bash                       TAB completes options and keys, also in zsh and fish
  vaelab rerun <run>                           the same run again, and whether its numbers are the same
  vaelab compare <folder> ...                  one table and one figure of finished runs
  vaelab dashboard <folder> ...                W&B workspaces, and a report that compares runs

The README shows what comes out. docs/coming_from.md has the commands of lightning-hydra-template beside these.
"""


USUAL = "usual beside some data and task, unless a word of yours takes its place (conf/usual.yaml)\n"


def summary(option: Path) -> str:
    """The first comment line of an option's YAML, or nothing."""
    with option.open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("#") and "@package" not in line:
                return line.lstrip("# ").strip()
            if line.strip() and not line.startswith("#"):
                break
    return ""


def settings(config: Path) -> list[tuple[str, str]]:
    """The keys at the root of `train.yaml`, each with the comment behind it."""
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
