"""Requeue a SLURM job, whose next start resumes from the last checkpoint."""

import os
import signal
import subprocess

PATIENCE = 60.0  # seconds for SLURM to answer


def requeue() -> str:
    """Ask SLURM to requeue the job of this process; returns the result in words.

    The process ends after that, so it ignores further signals to end.
    """
    # SLURM tells the processes of the job to end before it has answered, and this one is about to end anyway.
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
        return f"SLURM did not requeue job {job} ({why}); submit it again to resume it"
    return f"SLURM requeues job {job}, which then resumes"
