"""Training samples a second: the ordinary run beside loops written by hand and plain Lightning, in one run.

    python benchmarks/throughput.py                                  # the cases below
    python benchmarks/throughput.py encoder=conv data.batch_size=128 # one of your own

Rounds are interleaved, and ratios are taken round by round, so that they hold while the machine's speed drifts.
Compiling, and the first two epochs, are not counted.
"""

import statistics
import sys
import tempfile

import torch
from contenders import Case, by_hand, by_hand_tuned, examples_an_epoch, pace, plain_lightning, run
from rich.console import Console
from rich.table import Table

from vaelab.config.builder import Builder
from vaelab.run import build, quieten

ROUNDS, SECONDS = 15, 0.7
CONTENDERS = {"run": run, "by hand": by_hand, "tuned by hand": by_hand_tuned, "plain Lightning": plain_lightning}
MLP = ("data=fashion_mnist", "encoder.hidden=[512]", "decoder.hidden=[512]", "likelihood=bernoulli_dynamic")
CONV = ("data=cifar10", "data.size=64", "encoder=conv", "encoder.widths=[32,64,128,256,512]", "latent_dim=128",
        "data.batch_size=64", "likelihood=gaussian")  # fmt: skip
CASES = {
    "digits, the default run": Case((), compiled=False),
    "MLP VAE 784-512-16-512-784, batch 128": Case(MLP, compiled=True, limit=150),
    "conv VAE 64 x 64 x 3, widths 32-512, batch 64": Case(CONV, compiled=True, limit=6),
}


def measure(name: str, case: Case) -> Table:
    """One case, as a table of medians."""
    with tempfile.TemporaryDirectory() as folder:
        cfg = case.config(folder)
        size = examples_an_epoch(case, build(cfg, Builder())[0])
        epochs = max(1, round(SECONDS / pace(by_hand(case, cfg, 1, folder))))
        rounds = [
            {contender: pace(train(case, cfg, epochs, folder)) for contender, train in CONTENDERS.items()}
            for _ in range(ROUNDS)
        ]
    table = Table("", "samples/s", "run / it", "quartiles", "", title=name, title_justify="left")
    for contender in CONTENDERS:
        ratios = [seconds[contender] / seconds["run"] for seconds in rounds]
        rate = size / statistics.median(seconds[contender] for seconds in rounds)
        low, middle, high = statistics.quantiles(ratios, n=4)
        shown = [middle, low, high]
        table.add_row(contender, f"{rate:,.0f}", *([f"{ratio:.2f}" for ratio in shown] if contender != "run" else []))
    return table


def main() -> None:
    quieten()
    own = {" ".join(sys.argv[1:]): Case(tuple(sys.argv[1:]), compiled=True)}
    console = Console(width=100)
    console.print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, medians of {ROUNDS} rounds")
    for name, case in (own if sys.argv[1:] else CASES).items():
        console.print(measure(name, case))


if __name__ == "__main__":
    main()
