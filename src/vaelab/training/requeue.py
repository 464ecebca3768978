"""Put a SLURM job back into the queue: its next start goes on from the last checkpoint."""

import os
import signal
import subprocess

PATIENCE = 60.0  # seconds for SLURM to answer


def requeue() -> str:
    """Ask SLURM to start the job of this process again; returns what became of it, in words.

    The process ends after that, and no signal to end hurries it.
    """
    # SLURM tells the processes of the job to end while it still answers, and this one is about to do so anyway.
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"SLURM could not be asked to requeue job {job} ({error})"
    if done.returncode:
        why = " ".join((done.stderr or done.stdout).split())
        return f"SLURM did not requeue job {job} ({why}); submit it again, and it goes on"
    return f"SLURM requeues job {job}, which then goes on"
