"""Every task on data that nobody tuned for, with defaults alone, beside the baselines of the task.

    python benchmarks/unseen.py                              # all pairs of a task and a data set, two seeds
    python benchmarks/unseen.py --quick                      # a few of each task, one seed
    python benchmarks/unseen.py 'anomaly/*' '*/icons*'       # those whose name fits a pattern
    python benchmarks/unseen.py --held-back                  # the third that no default was tuned on
    python benchmarks/unseen.py --with latent_dim=8 --results /tmp/eight 'anomaly/keel-*'    # what another value gives

A run is `python train.py task=<task> data=<kind> data.path=<place>`, and nothing more than what says where labels are.
What a run gave is kept in `benchmarks/.unseen/<commit>`, and is not run again: the command goes on where it was
stopped, and tries again what failed. A checksum of its name decides whether a data set belongs to the two thirds that
defaults are tuned on, or to the third that is held back.

A pair is compared with the best baseline of its task by the headline of the task. `+` and `-` mean that the run is
ahead of it, or behind, beyond the paired 95 % interval of the same test examples; `=` that the interval holds 0, and
`?` that the run does not give one.

Of generated tables the headline is tstr, under the fitted prior if there is one: the score of trees that learn from
samples and are tested on real rows. Beside it stands what part that is of the score of trees that learn from real rows,
of the run and of the rival.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from statistics import mean, median
from typing import Any
from zlib import crc32

import numpy as np
from rich.console import Console
from rich.table import Column, Table

from vaelab.evaluation.ahead import AHEAD
from vaelab.metrics import direction, is_reference

HERE = Path(__file__).parent
ROOT = HERE.parent
LIMIT = 30 * 60  # seconds of a run
WIDE = 160  # columns of a table that no terminal shows
Numbers = dict[str, float]

HEADLINES = {
    "anomaly": ("auroc",),
    "compression": ("mse",),
    "denoising": ("psnr_baseline_examples", "psnr", "masked_accuracy", "mse"),
    "embedding": ("knn_accuracy",),
    "generation": ("tstr_fitted", "tstr", "fid", "nll"),
}  # the first that a run reports

KEEL = (
    "abalone9-18", "dermatology-6", "ecoli1", "ecoli3", "glass1", "glass6", "kr-vs-k-zero_vs_fifteen",
    "led7digit-0-2-4-5-6-7-8-9_vs_1", "new-thyroid1", "shuttle-c0-vs-c4", "vehicle0", "vehicle2",
    "winequality-red-4", "wisconsin", "yeast1", "yeast3", "yeast6", "zoo-3",
)  # fmt: skip
UCR = ("ACSF1", "BME", "CBF", "Chinatown", "CinCECGTorso", "Computers", "Crop", "DistalPhalanxTW", "ElectricDevices",
       "FaceAll", "Fish", "FordB")  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """A task on a data set.

    Attributes:
        task: its name.
        data: name of the set.
        words: of the command line, beside the task and the seed.
        quick: whether `--quick` runs it.
    """

    task: str
    data: str
    words: tuple[str, ...]
    quick: bool = False

    @property
    def name(self) -> str:
        """As patterns name it."""
        return f"{self.task}/{self.data}"

    @property
    def held_back(self) -> bool:
        """Whether no default was tuned on the set."""
        return crc32(self.data.encode()) % 3 == 2


def pairs(data: Path) -> list[Pair]:
    """All of them; those whose data are not in the folder `data` are left out, and named."""
    found: list[Pair] = []
    for number, name in enumerate(KEEL):
        words = ("data=table", f"data.path={data / 'keel' / name}.csv", "data.label=label")
        found.append(Pair("anomaly", f"keel-{name}", (*words, "data.normal=[negative]"), quick=number % 6 == 0))
        found += [Pair(task, f"keel-{name}", words, quick=number == 9) for task in ("embedding", "generation")]
    for number, name in enumerate(UCR):
        words = ("data=series", f"data.path={data / 'ucr' / name}", "data.label=label")
        found.append(Pair("anomaly", f"ucr-{name}", (*words, "data.normal=[1]"), quick=number == 3))
        denoising = (*words, "corruption=gaussian")
        found.append(Pair("denoising", f"ucr-{name}", denoising, quick=number == 3))
        for task in ("compression", "embedding", "generation"):
            found.append(Pair(task, f"ucr-{name}", words, quick=number in (1, 3)))
    icons = ("data=images", f"data.path={data / 'icons'}", "data.size=32")
    found.append(Pair("anomaly", "icons", (*icons, "data.normal=[mimetypes]"), quick=True))
    found += [Pair(task, "icons", icons, quick=True) for task in ("compression", "embedding", "generation")]
    found.append(Pair("denoising", "icons", (*icons, "corruption=gaussian"), quick=True))
    for name in ("words/german", "words/french", "fortunes/fortunes"):
        words = ("data=text", f"data.path={data / name}.txt", "data.limit=20000")
        label = name.rpartition("/")[2]
        found.append(Pair("generation", f"text-{label}", words))
        found.append(Pair("denoising", f"text-{label}", (*words, "corruption=mask"), quick=label == "german"))
    there = [pair for pair in found if _place(pair).exists()]
    if lacking := sorted({_place(pair).as_posix() for pair in found} - {_place(pair).as_posix() for pair in there}):
        print(f"left out, since they are not there: {', '.join(lacking)}", file=sys.stderr)
    return there


def _place(pair: Pair) -> Path:
    return next(Path(word.partition("=")[2]) for word in pair.words if word.startswith("data.path="))


# Running


def run(pair: Pair, seed: int, more: Sequence[str], folder: Path, data: Path, threads: int) -> dict[str, Any]:
    """Train and measure once, in a process of its own; the line that is kept of it.

    Args:
        pair: what to run.
        seed: of the run.
        more: words of the command line.
        folder: of the results.
        data: the folder of the sets.
        threads: of the process.
    """
    place = folder / "runs" / f"{pair.name.replace('/', '-')}-{seed}"
    words = [f"task={pair.task}", *pair.words, *more, f"seed={seed}", "logger=none", f"paths.output_dir={place}",
             f"hydra.run.dir={place}", f"paths.data_dir={data}", "trainer.enable_progress_bar=false"]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    began = time.monotonic()
    line: dict[str, Any] = {"pair": pair.name, "seed": seed}
    try:
        done = subprocess.run(
            [sys.executable, str(ROOT / "train.py"), *words],
            capture_output=True,
            text=True,
            env=environment,
            timeout=LIMIT,
        )
    except subprocess.TimeoutExpired:
        return line | {"seconds": LIMIT, "error": f"not done after {LIMIT} s"}
    line["seconds"] = round(time.monotonic() - began, 1)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        return line | {"error": said[-1] if said else f"exit status {done.returncode}"}
    return line | read(place)


def read(place: Path) -> dict[str, Any]:
    """Numbers of a run folder, and how far it is ahead of each baseline where the run says so."""
    numbers: Numbers = json.loads((place / "metrics.json").read_text(encoding="utf-8"))
    about = place / "metrics_metadata.json"
    metadata = json.loads(about.read_text(encoding="utf-8")) if about.is_file() else {}
    ahead = {
        name: [facts[AHEAD], facts["at least"], facts["at most"]]
        for name, facts in metadata.items()
        if isinstance(facts, dict) and AHEAD in facts
    }
    kept = {name: value for name, value in numbers.items() if name.startswith(("test/", "baseline/"))}
    return {"numbers": kept, "ahead": ahead}


# Comparing


@dataclass(frozen=True)
class Compared:
    """A pair beside its best baseline, means over seeds.

    Attributes:
        metric: the headline.
        run, rival: its value, of the run and of the best baseline.
        rival_name: which that is.
        ahead: above 0 where the run is better; in units of the metric.
        interval: 95 %, paired over test examples; None where the run does not say it.
        ratios: of the run and of the rival, to what real rows reach; None where that is not measured.
    """

    pair: Pair
    metric: str
    run: float
    rival: float
    rival_name: str
    ahead: float
    interval: tuple[float, float] | None
    ratios: tuple[float, float] | None = None

    @property
    def verdict(self) -> str:
        """`+`, `-` or `=`; `?` without an interval."""
        if self.interval is None:
            return "?"
        low, high = self.interval
        return "+" if low > 0 else "-" if high < 0 else "="


def compared(pair: Pair, lines: Sequence[dict[str, Any]]) -> Compared | None:
    """What the seeds of a pair gave together; None where none of them has a number or a rival."""
    done = [line for line in lines if "numbers" in line]
    if not done:
        return None
    numbers: list[Numbers] = [line["numbers"] for line in done]
    metric = next((name for name in HEADLINES[pair.task] if f"test/{name}" in numbers[0]), None)
    if metric is None:
        return None
    own = mean(found[f"test/{metric}"] for found in numbers)
    fitted = "_fitted" if metric.endswith("_fitted") else ""
    plain = metric.removesuffix("_baseline_examples").removesuffix("_fitted")
    sign = 1 if direction(metric) == "max" else -1
    rivals = {}
    for key in numbers[0]:
        parts = key.split("/")
        if parts[0] == "baseline" and parts[-1] == plain and not is_reference(parts[1]):
            rivals[parts[1]] = mean(found[key] for found in numbers)
    if not rivals:
        return None
    best = max(rivals, key=lambda name: sign * rivals[name])
    said: list[list[float]] = [
        line["ahead"][f"baseline/{best}/{plain}{fitted}"]
        for line in done
        if f"baseline/{best}/{plain}{fitted}" in line["ahead"]
    ]
    interval = (mean(ends[1] for ends in said), mean(ends[2] for ends in said)) if len(said) == len(done) else None
    parts = [f"test/{plain}_ratio{fitted}", f"baseline/{best}/{plain}_ratio"]
    ratios = None
    if all(part in found for part in parts for found in numbers):
        ratios = mean(found[parts[0]] for found in numbers), mean(found[parts[1]] for found in numbers)
    return Compared(pair, metric, own, rivals[best], best, sign * (own - rivals[best]), interval, ratios)


def summaries(found: Sequence[Compared]) -> Iterator[tuple[str, int, float, float, float, str]]:
    """Of each task: pairs, shares ahead, not behind and significantly behind, and the mean relative lead."""
    generator = np.random.default_rng(0)
    for task in HEADLINES:
        of = [one for one in found if one.pair.task == task]
        if not of:
            continue
        behind = mean(one.verdict == "-" if one.interval else one.ahead < 0 for one in of)
        lead = np.array([one.ahead / max(abs(one.rival), 1e-12) for one in of])
        drawn = lead[generator.integers(len(lead), size=(1_000, len(lead)))].mean(1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        ahead = mean(one.ahead > 0 for one in of)
        yield task, len(of), ahead, 1 - behind, behind, f"{lead.mean():+.1%} [{low:+.1%}, {high:+.1%}]"


def ratio_line(found: Sequence[Compared]) -> str | None:
    """The ratios of generated tables in short; None where there are none."""
    of = [one.ratios for one in found if one.ratios is not None]
    if not of:
        return None
    run, rival = (median(both[side] for both in of) for side in (0, 1))
    return f"tstr over that of real rows, median of {len(of)} tables: {run:.3f}, the best rival {rival:.3f}"


def show(console: Console, found: Sequence[Compared], failed: Sequence[dict[str, Any]]) -> None:
    """A line for each pair, a summary for each task, and what failed."""
    heads = ("pair", "metric", "run", "best rival", "", "ahead", "95 %", "", "ratio")
    lines = Table(*(Column(head, no_wrap=True) for head in heads), title="pairs; (h) is held back")
    for one in sorted(found, key=lambda one: one.pair.name):
        ratio = "" if one.ratios is None else "{:.3f}, rival {:.3f}".format(*one.ratios)
        ends = "" if one.interval is None else "[{:.3g}, {:.3g}]".format(*one.interval)
        lines.add_row(
            one.pair.name + (" (h)" if one.pair.held_back else ""), one.metric, f"{one.run:.4g}",
            f"{one.rival:.4g}", one.rival_name, f"{one.ahead:+.3g}", ends, one.verdict, ratio,
        )  # fmt: skip
    console.print(lines)
    table = Table("task", "pairs", "ahead", "not behind", "behind", "mean lead over the best rival, 95 % over pairs")
    for task, count, ahead, level, behind, lead in summaries(found):
        table.add_row(task, str(count), f"{ahead:.2f}", f"{level:.2f}", f"{behind:.2f}", lead)
    console.print(table)
    if line_of_ratios := ratio_line(found):
        console.print(line_of_ratios, markup=False, highlight=False)
    for line in failed:
        console.print(f"failed: {line['pair']} seed {line['seed']}: {line['error']}", markup=False, highlight=False)


# The command


def commit() -> str:
    """Of the code that is measured."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    changed = "-changed" if git("status", "--porcelain", "--untracked-files=no") else ""
    return git("rev-parse", "--short", "HEAD") + changed


def main() -> int:
    """Run what is not known yet, and show everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", metavar="PATTERN", help="of names such as anomaly/keel-yeast1")
    parser.add_argument("--quick", action="store_true", help="a few pairs of each task, one seed")
    parser.add_argument("--held-back", action="store_true", help="the third that no default was tuned on")
    parser.add_argument("--everything", action="store_true", help="both the tuned and the held-back sets")
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="the folder of the sets (default: data)")
    parser.add_argument("--results", type=Path, help="a folder (default: benchmarks/.unseen/<commit>)")
    parser.add_argument(
        "--with", dest="more", action="append", default=[], metavar="WORD", help="an override to try; needs --results"
    )
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="runs at once (default: one for each core)"
    )
    parser.add_argument("--list", action="store_true", help="name the pairs and stop")
    asked = parser.parse_args()
    if asked.more and not asked.results:
        parser.error("--with needs --results, a folder of its own: results by commit are those of the defaults")
    chosen = [
        pair
        for pair in pairs(asked.data.resolve())
        if (asked.everything or pair.held_back == asked.held_back)
        and (pair.quick or not asked.quick)
        and (not asked.patterns or any(fnmatch(pair.name, pattern) for pattern in asked.patterns))
    ]
    if not chosen:
        parser.error("no pair fits; --list names them")
    if asked.list:
        print("\n".join(f"{pair.name}: {' '.join((f'task={pair.task}', *pair.words))}" for pair in chosen))
        return 0
    folder = asked.results or HERE / ".unseen" / commit()
    folder.mkdir(parents=True, exist_ok=True)
    file, console = folder / "results.jsonl", Console(width=None if sys.stdout.isatty() else WIDE)
    before = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []
    done = {(line["pair"], line["seed"]): line for line in before if "numbers" in line}
    seeds = (1,) if asked.quick else (1, 2)
    left = [(pair, seed) for seed in seeds for pair in chosen if (pair.name, seed) not in done]
    threads = max(1, (os.cpu_count() or 1) // asked.jobs)

    def one(job: tuple[Pair, int]) -> dict[str, Any]:
        return run(*job, asked.more, folder, asked.data.resolve(), threads)

    pool = ThreadPoolExecutor(asked.jobs)
    try:
        for number, job in enumerate(as_completed([pool.submit(one, job) for job in left]), start=1):
            line = job.result()
            done[line["pair"], line["seed"]] = line
            with file.open("a", encoding="utf-8") as kept:
                kept.write(json.dumps(line) + "\n")
            said = f"  {line['error']}" if "error" in line else ""
            console.print(f"{number} of {len(left)}: {line['pair']}, seed {line['seed']}, {line['seconds']} s{said}")
    except KeyboardInterrupt:
        print(f"error: interrupted; the same command goes on, with what {file} keeps", file=sys.stderr)
        return 130
    finally:
        pool.shutdown(cancel_futures=True)
    lines = {pair.name: [done[pair.name, seed] for seed in seeds if (pair.name, seed) in done] for pair in chosen}
    found = [known for pair in chosen if (known := compared(pair, lines[pair.name])) is not None]
    failed = [line for of in lines.values() for line in of if "error" in line]
    show(console, found, failed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
