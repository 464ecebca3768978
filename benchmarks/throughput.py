"""Training samples a second: the ordinary run beside loops written by hand, plain Lightning and peers, in one run.

    python benchmarks/throughput.py                                  # the cases below
    python benchmarks/throughput.py encoder=conv data.batch_size=128 # one of your own

Contenders take turns, and ratios are taken turn by turn. Compiling, and the first epochs, are not counted. The first
time pythae is installed, into an environment of its own beside this file.
"""

import statistics
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from contenders import CONTENDERS, IN_BFLOAT16, Case, command, examples_an_epoch
from peers import pythae_python
from rich.console import Console
from rich.table import Table
from turns import race

from vaelab.config.builder import Builder
from vaelab.run import build

TURNS = 40
HERE = Path(__file__).parent
# Binarized once: pythae, too, draws no noise but the posterior's.
MLP = ("data=fashion_mnist", "encoder.hidden=[512]", "decoder.hidden=[512]", "likelihood=bernoulli",
       "likelihood.binarize=static")  # fmt: skip
CONV = ("data=cifar10", "data.size=64", "encoder=conv", "encoder.widths=[32,64,128,256,512]", "latent_dim=128",
        "data.batch_size=64", "likelihood=gaussian")  # fmt: skip
CASES = {
    "digits, the default run": Case((), compiled=False, epochs=3),
    "MLP VAE 784-512-16-512-784, batch 128": Case(MLP, compiled=True, limit=60),
    "conv VAE 64 x 64 x 3, widths 32-512, batch 64": Case(CONV, compiled=False, limit=4),
}


def peers(name: str, case: Case) -> dict[str, list[str]]:
    """What one would take instead, for the cases that have one; a tuned loop in bfloat16 where it is faster so."""
    limit = str(case.limit)
    if name.startswith("MLP VAE"):
        python = pythae_python(HERE / ".venv-pythae")
        return {
            IN_BFLOAT16: command(IN_BFLOAT16, case),
            "pythae 0.1.2, its trainer": [python, str(HERE / "peers.py"), "pythae", limit],
        }
    if name.startswith("conv VAE"):
        return {"PyTorch-VAE's VanillaVAE": [sys.executable, str(HERE / "peers.py"), "pytorch_vae", limit]}
    return {}


def measure(name: str, case: Case) -> Table:
    """One case, as a table of medians."""
    ours = {contender: command(contender, case, case.epochs) for contender in CONTENDERS if contender != IN_BFLOAT16}
    taken = race(ours | peers(name, case), TURNS)
    with TemporaryDirectory() as folder:
        size = case.epochs * examples_an_epoch(case, build(case.config(folder), Builder())[0])
    table = Table("", "samples/s", "run / it", "quartiles", "", title=name, title_justify="left")
    for contender in taken[0]:
        ratios = [seconds[contender] / seconds["run"] for seconds in taken]
        rate = size / statistics.median(seconds[contender] for seconds in taken)
        low, middle, high = statistics.quantiles(ratios, n=4)
        shown = [middle, low, high]
        table.add_row(contender, f"{rate:,.0f}", *([f"{ratio:.2f}" for ratio in shown] if contender != "run" else []))
    return table


def main() -> None:
    own = {" ".join(sys.argv[1:]): Case(tuple(sys.argv[1:]), compiled=True)}
    console = Console(width=100)
    console.print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, medians of {TURNS} turns")
    for name, case in (own if sys.argv[1:] else CASES).items():
        console.print(measure(name, case))


if __name__ == "__main__":
    main()
