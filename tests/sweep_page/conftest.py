from collections.abc import Callable
from pathlib import Path

import pytest

from run_folders import make_run
from vaelab.record.sweep import Job, Status, Sweep

ELBO = ("val/elbo", "max")
Made = Callable[..., Sweep]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """`made((words, numbers), ...)`: a sweep whose jobs have these words and numbers; without numbers one failed."""

    def make(
        *jobs: tuple[str, dict[str, float] | None], watched: tuple[str, str] | None = ELBO, why: str = "no data"
    ) -> Sweep:
        folder = tmp_path / "sweep"
        sweep = Sweep(folder, "python train.py -m ...", [])
        for number, (words, numbers) in enumerate(jobs):
            job = Job(number, words.split(), str(number), Status.DONE)
            if numbers is None:
                job.status, job.error = Status.FAILED, why
            else:
                names = {name.replace("/", "__"): value for name, value in numbers.items()}
                watches = ("val/reconstruction", "max") if "model=ae" in words.split() and watched else watched
                make_run(folder / str(number), *words.split(), watched=watches, **names)
            sweep.jobs.append(job)
        folder.mkdir(exist_ok=True)
        sweep.write()
        return sweep

    return make
