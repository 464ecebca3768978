"""A cluster of one machine: what `sbatch`, `squeue`, `sacct`, `scancel`, `scontrol` and `srun` of this folder share.

Put this folder in front of PATH and name an empty folder in SLURM_STANDIN. Jobs are real processes. These variables
change the cluster: SLURM_STANDIN_SLOTS, how many jobs run at once (2), and SLURM_STANDIN_MINUTE, how many seconds a
minute of `--time` has (60). While there is a file `hold` in the folder, no job begins.

Each task of a job has up to four files: `<job>.json` with its state, `<job>.cancelled` once scancel has named it,
`<job>.requeued` while scontrol wants it back in the queue, and `<job>.groups`, the process groups that srun has
started. A job that is no array is its own task 0.
"""

import fcntl
import getpass
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ["SLURM_STANDIN"])
SLOTS = int(os.environ.get("SLURM_STANDIN_SLOTS", "2"))
MINUTE = float(os.environ.get("SLURM_STANDIN_MINUTE", "60"))
LIVE = ("PENDING", "RUNNING", "COMPLETING")
KILL_WAIT = 30.0  # seconds from SIGTERM to SIGKILL
PARTITIONS = ("", "cpu", "gpu")


def options(arguments: list[str], flags: tuple[str, ...] = (), short: dict[str, str] | None = None) -> Any:
    """Long options of a command line, and what is no option; an option is followed by its value unless it is a flag."""
    found: dict[str, str] = {}
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        name, equals, value = rest.pop(0).partition("=")
        name = (short or {}).get(name, name.lstrip("-"))
        found[name] = value if equals else "" if name in flags else rest.pop(0)
    return found, rest


def submit(arguments: list[str]) -> str:
    """What sbatch does; returns the id of the job."""
    given, (script, *words) = options(arguments, ("parsable", "requeue"))
    text = Path(script).read_text()
    for line in re.findall(r"^#SBATCH (.*)$", text, re.MULTILINE):
        given = options(shlex.split(line), ("requeue", "exclusive"))[0] | given
    if given.get("partition", "") not in PARTITIONS:
        sys.exit(f"sbatch: error: invalid partition specified: {given['partition']}")
    FOLDER.mkdir(exist_ok=True)
    tasks = _array(given.get("array", ""))
    number = _next(len(tasks))
    copy = FOLDER / f"{number}.sh"  # as SLURM does: the script may be changed or removed meanwhile
    copy.write_text(text)
    for place, task in enumerate(tasks):
        about = {"job": number, "task": task, "raw": number + place, "name": given.get("job-name", Path(script).name),
                 "user": getpass.getuser(), "state": "PENDING", "reason": "Priority", "given": given,
                 "tasks": len(tasks), "array": "array" in given, "words": words, "restarts": 0}  # fmt: skip
        _write(f"{number}_{task}", about)
    for task in tasks:
        subprocess.Popen(
            [sys.executable, __file__, f"{number}_{task}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    return str(number)


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    """All tasks of all jobs, by `<job>_<task>`."""
    for path in sorted(FOLDER.glob("*_*.json")):
        yield path.stem, json.loads(path.read_text())


def named(number: str) -> list[str]:
    """The tasks that an id stands for: `12_3`, or `12` for all of a job."""
    return [key for key, _ in jobs() if key == number or key.partition("_")[0] == number]


def cancel(key: str) -> None:
    """End a task, or take it out of the queue."""
    (FOLDER / f"{key}.cancelled").touch()


def send(key: str, name: str) -> None:
    """Send a signal to the processes that srun has started for a task."""
    _signal(key, getattr(signal, f"SIG{name.removeprefix('SIG')}"))


def requeue(key: str) -> None:
    """End a running task and put it back into the queue."""
    about = _read(key)
    if "requeue" not in about["given"] or about["state"] != "RUNNING":
        sys.exit("slurm_update error: Requested operation is presently disabled")
    (FOLDER / f"{key}.requeued").touch()


def run(key: str) -> None:
    """The life of a task, in a process of its own."""
    requeued = FOLDER / f"{key}.requeued"
    while _once(key) == "REQUEUED":
        requeued.unlink()
        (FOLDER / f"{key}.groups").unlink(missing_ok=True)
        about = _read(key)
        _write(key, about | {"state": "PENDING", "reason": "BeginTime", "restarts": about["restarts"] + 1})


def _once(key: str) -> str:
    """A task from the queue to its end; returns the state in which it ends."""
    about = _read(key)
    cancelled = FOLDER / f"{key}.cancelled"
    slot = None
    while slot is None:
        if cancelled.exists():
            _write(key, about | {"state": "CANCELLED by 0", "reason": ""})
            return "CANCELLED by 0"
        time.sleep(0.05)
        slot = None if (FOLDER / "hold").exists() else _free_slot()
    given = about["given"]
    _write(key, about | {"state": "RUNNING", "reason": ""})
    output = given.get("output", "slurm-%A_%a.out" if about["array"] else "slurm-%j.out")
    with open(named_by(output, about), "ab") as file:
        script = subprocess.Popen(
            ["bash", str(FOLDER / f"{about['job']}.sh"), *about["words"]],
            env=os.environ | environment(about), stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    state = _followed(script, key, given, cancelled)
    _write(key, about | {"state": state, "reason": ""})
    return state


def _followed(script: "subprocess.Popen[bytes]", key: str, given: dict[str, str], cancelled: Path) -> str:
    """The state in which a task ends."""
    began, limit = time.monotonic(), minutes(given.get("time", "1440")) * MINUTE
    requeued = FOLDER / f"{key}.requeued"
    announced, _, early = given.get("signal", "").partition("@")
    told: float | None = None
    ended = ""
    while script.poll() is None:
        now = time.monotonic()
        if announced and now - began > limit - float(early or 60) / 60 * MINUTE:
            _signal(key, getattr(signal, f"SIG{announced}"))
            announced = ""
        if told is None and (requeued.exists() or cancelled.exists() or now - began > limit):
            ended = "REQUEUED" if requeued.exists() else "CANCELLED by 0" if cancelled.exists() else "TIMEOUT"
            told = now
            _signal(key, signal.SIGCONT)
            _signal(key, signal.SIGTERM)
        if told is not None and (now - told > KILL_WAIT or (ended == "REQUEUED" and not _lives(key))):
            _signal(key, signal.SIGKILL)
            script.kill()
        time.sleep(0.05)
    if requeued.exists():
        return "REQUEUED"
    return ended or ("COMPLETED" if script.returncode == 0 else "FAILED")


def minutes(text: str) -> float:
    """A time limit: minutes, minutes:seconds, or hours:minutes:seconds."""
    parts = [float(part) for part in text.split(":")]
    return parts[0] * 60 + parts[1] + parts[2] / 60 if len(parts) == 3 else parts[0] + sum(parts[1:]) / 60


def environment(about: dict[str, Any]) -> dict[str, str]:
    """What SLURM sets for the script of a task."""
    given = about["given"]
    nodes, each = int(given.get("nodes", 1)), int(given.get("ntasks-per-node", 1))
    found = {
        "SLURM_STANDIN_JOB": f"{about['job']}_{about['task']}",
        "SLURM_JOB_ID": str(about["raw"]), "SLURM_JOBID": str(about["raw"]), "SLURM_JOB_NAME": about["name"],
        "SLURM_NTASKS": str(nodes * each), "SLURM_NPROCS": str(nodes * each),
        "SLURM_NNODES": str(nodes), "SLURM_JOB_NUM_NODES": str(nodes),
        "SLURM_JOB_NODELIST": ",".join(["localhost"] * nodes), "SLURM_NODELIST": ",".join(["localhost"] * nodes),
        "SLURM_SUBMIT_DIR": os.getcwd(), "SLURM_CLUSTER_NAME": "standin", "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
        "SLURM_NODEID": "0",
    }  # fmt: skip
    if about["restarts"]:
        found["SLURM_RESTART_COUNT"] = str(about["restarts"])
    if about["array"]:
        found |= {"SLURM_ARRAY_JOB_ID": str(about["job"]), "SLURM_ARRAY_TASK_ID": str(about["task"]),
                  "SLURM_ARRAY_TASK_COUNT": str(about["tasks"])}  # fmt: skip
    for option, name in (("ntasks-per-node", "SLURM_NTASKS_PER_NODE"), ("cpus-per-task", "SLURM_CPUS_PER_TASK"),
                         ("gpus-per-node", "SLURM_GPUS_PER_NODE")):  # fmt: skip
        if option in given:  # SLURM sets these only where they were asked for
            found[name] = given[option]
    return found


def step(arguments: list[str]) -> int:
    """What srun does in a job: the command once for each process, with its rank; returns the worst exit code."""
    given, command = options(
        arguments,
        ("unbuffered", "kill-on-bad-exit"),
        {"-K": "kill-on-bad-exit", "-u": "unbuffered", "-o": "output", "-n": "ntasks"},
    )
    key = os.environ["SLURM_STANDIN_JOB"]
    about = _read(key)
    count, each = int(os.environ["SLURM_NTASKS"]), int(os.environ.get("SLURM_NTASKS_PER_NODE", "1"))
    started = []
    for rank in range(count):
        ranks = {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank % each), "SLURM_NODEID": str(rank // each),
                 "SLURM_STEP_ID": "0"}  # fmt: skip
        output = named_by(given["output"], about, rank) if "output" in given else "/dev/stdout"
        with open(output, "ab") as file:
            started.append(
                subprocess.Popen(
                    command, env=os.environ | ranks, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
                )
            )
    with (FOLDER / f"{key}.groups").open("a") as file:
        file.writelines(f"{process.pid}\n" for process in started)
    codes: list[int] = []
    while len(codes) < len(started):
        codes = [code for process in started if (code := process.poll()) is not None]
        if any(codes) and "kill-on-bad-exit" in given:
            for process in started:
                if process.poll() is None:
                    process.terminate()
            codes = [process.wait(KILL_WAIT) for process in started]
        time.sleep(0.05)
    return max(code if code >= 0 else 128 - code for code in codes)


def named_by(pattern: str, about: dict[str, Any], rank: int = 0) -> str:
    """A file name of SLURM with its signs replaced."""
    signs = {"%A": about["job"], "%a": about["task"], "%j": about["raw"], "%t": rank}
    return re.sub("%[Aajt]", lambda sign: str(signs[sign[0]]), pattern)


def _lives(key: str) -> bool:
    """Whether a process that srun has started for a task is still there."""
    path = FOLDER / f"{key}.groups"
    return any(Path(f"/proc/{group}").exists() for group in (path.read_text().split() if path.exists() else []))


def _signal(key: str, number: int) -> None:
    """To all processes that srun has started, as SLURM does; not to the script itself."""
    path = FOLDER / f"{key}.groups"
    for group in path.read_text().split() if path.exists() else []:
        with suppress(ProcessLookupError):
            os.killpg(int(group), number)


def _array(text: str) -> list[int]:
    if not text:
        return [0]
    found: list[int] = []
    for part in text.partition("%")[0].split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def _next(count: int) -> int:
    """The first of so many ids that nobody has."""
    with (FOLDER / "last").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        number = int(file.read() or "1000") + 1
        file.truncate(0)
        file.write(str(number + count))
    return number


def _free_slot() -> Any:
    """A slot, held until this process ends; None where all are taken."""
    for number in range(SLOTS):
        file = (FOLDER / f"slot-{number}").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
        else:
            return file
    return None


def _read(key: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / f"{key}.json").read_text())
    return found


def _write(key: str, about: dict[str, Any]) -> None:
    partial = FOLDER / f".{key}"
    partial.write_text(json.dumps(about))
    partial.replace(FOLDER / f"{key}.json")


if __name__ == "__main__":
    run(sys.argv[1])
