"""Training samples a second: the ordinary run beside loops written by hand and plain Lightning, in one run.

    python benchmarks/throughput.py                                  # the cases below
    python benchmarks/throughput.py encoder=conv data.batch_size=128 # one of your own

Each contender is a process. They train an epoch each in turn, the others stopped meanwhile, and ratios are taken turn
by turn, so that they hold while the machine's speed drifts. Compiling, and the first epochs, are not counted.
"""

import os
import signal
import statistics
import sys
from multiprocessing import get_context
from multiprocessing.connection import Connection
from tempfile import TemporaryDirectory

import torch
from contenders import WARM_UP, Case, Clock, by_hand, by_hand_tuned, examples_an_epoch, plain_lightning, run
from rich.console import Console
from rich.table import Table

from vaelab.config.builder import Builder
from vaelab.run import build, quieten

TURNS = 40
CONTENDERS = {"run": run, "by hand": by_hand, "tuned by hand": by_hand_tuned, "plain Lightning": plain_lightning}
MLP = ("data=fashion_mnist", "encoder.hidden=[512]", "decoder.hidden=[512]", "likelihood=bernoulli_dynamic")
CONV = ("data=cifar10", "data.size=64", "encoder=conv", "encoder.widths=[32,64,128,256,512]", "latent_dim=128",
        "data.batch_size=64", "likelihood=gaussian")  # fmt: skip
CASES = {
    "digits, the default run": Case((), compiled=False),
    "MLP VAE 784-512-16-512-784, batch 128": Case(MLP, compiled=True, limit=60),
    "conv VAE 64 x 64 x 3, widths 32-512, batch 64": Case(CONV, compiled=True, limit=4),
}


class TurnClock(Clock):
    """Waits for its turn before each epoch, and reports how long it took."""

    def __init__(self, parent: Connection) -> None:
        super().__init__()
        self._parent = parent

    def begin(self) -> None:
        """Wait, then begin."""
        self._parent.recv()
        super().begin()

    def end(self) -> None:
        """Report."""
        super().end()
        self._parent.send(self.seconds[-1] if self.seconds else None)


def take_part(contender: str, case: Case, folder: str, parent: Connection) -> None:
    """One contender, in its own process; its terminal is one that nobody looks at."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.environ["TTY_COMPATIBLE"] = "1"  # progress bars are drawn as they are for a user
    quieten()
    CONTENDERS[contender](case, case.config(folder), TURNS, folder, TurnClock(parent))


def turns(case: Case) -> list[dict[str, float]]:
    """Seconds of an epoch of each contender, for each turn."""
    context = get_context("spawn")
    with TemporaryDirectory() as folder:
        pipes, processes = {}, {}
        for name in CONTENDERS:
            pipes[name], theirs = context.Pipe()
            processes[name] = context.Process(target=take_part, args=(name, case, folder, theirs), daemon=True)
            processes[name].start()
            theirs.close()
        taken = []
        for turn in range(TURNS + WARM_UP):
            row = {}
            for name, pipe in pipes.items():
                os.kill(processes[name].pid or 0, signal.SIGCONT)
                pipe.send("go")
                row[name] = pipe.recv()
                if turn >= WARM_UP - 1:
                    os.kill(processes[name].pid or 0, signal.SIGSTOP)
            taken.append(row)
        for process in processes.values():
            process.kill()
            process.join()
    return taken[WARM_UP:]


def measure(name: str, case: Case) -> Table:
    """One case, as a table of medians."""
    taken = turns(case)
    with TemporaryDirectory() as folder:
        size = examples_an_epoch(case, build(case.config(folder), Builder())[0])
    table = Table("", "samples/s", "run / it", "quartiles", "", title=name, title_justify="left")
    for contender in CONTENDERS:
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
