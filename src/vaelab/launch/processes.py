"""Jobs as processes of this machine: so many at once, each followed until it ends."""

from collections.abc import Callable, Mapping, Sequence
from time import sleep

from vaelab.launch.listening import Told, listening
from vaelab.launch.outcome import INTERRUPTED, Followed, LaunchedJob, Outcome
from vaelab.launch.process import JobProcess
from vaelab.record.sweep import Status

LOOK = 0.1  # seconds between looks at processes
TOGETHER = 1.0  # seconds within which whoever tells all processes of a job to end has told this one too

Running = dict[int, tuple[LaunchedJob, JobProcess]]  # by their slots


def run_processes(
    jobs: Sequence[LaunchedJob],
    followed: Followed,
    program: Sequence[str],
    at_once: int = 1,
    environment: Callable[[LaunchedJob, int], Mapping[str, str]] | None = None,
) -> int:
    """Run jobs, and say what becomes of each.

    Ctrl-C and its like end the processes as they end a single run, and no other job begins. A second Ctrl-C kills them.

    Args:
        jobs: in the order in which they begin.
        followed: is told of every job that began.
        program: `train.py`, or `vaelab train`.
        at_once: processes.
        environment: variables for a job in a slot, which is a number below `at_once`.

    Returns:
        The exit code of an interruption; 0 for none.
    """
    waiting, running = list(jobs), Running()
    with listening() as told:
        try:
            while running or (waiting and told.signal is None):
                while waiting and told.signal is None and len(running) < at_once:
                    job = waiting.pop(0)
                    slot = next(number for number in range(at_once) if number not in running)
                    if process := _begun(job, followed, program, environment(job, slot) if environment else {}):
                        running[slot] = job, process
                if told.signal is not None:
                    _end(running, told)
                for slot, (job, process) in list(running.items()):
                    if (code := process.ended()) is not None:
                        del running[slot]
                        followed.ended(job.number, _outcome(process, code, told))
                sleep(LOOK)
        finally:
            for _, process in running.values():  # after an error here
                process.kill()
    return told.exit_code


def _begun(
    job: LaunchedJob, followed: Followed, program: Sequence[str], environment: Mapping[str, str]
) -> JobProcess | None:
    """The process of a job; None if it cannot be started."""
    followed.began(job.number)
    try:
        return JobProcess(job.folder, job.output, program, job.arguments, environment)
    except OSError as error:
        followed.ended(job.number, Outcome(Status.FAILED, f"cannot be started ({error.strerror})"))
        return None


def _end(running: Running, told: Told) -> None:
    for _, process in running.values():
        process.tell()
        process.insist()
        if told.impatient:
            process.kill()


def _outcome(process: JobProcess, code: int, told: Told) -> Outcome:
    if code == 0:
        return Outcome(Status.DONE)
    signalled = code < 0 or code in INTERRUPTED
    if signalled and told.signal is None:
        sleep(TOGETHER)
    if signalled and (told.signal is not None or code in INTERRUPTED):
        return Outcome(Status.INTERRUPTED, exit_code=told.exit_code)
    return Outcome(Status.FAILED, process.why(code))
