"""The benchmark of a GPU runs on a processor too, in small sizes, so that it works when a GPU is at hand."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"


@pytest.mark.long
def test_every_measurement_runs_on_a_processor(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    command = [sys.executable, SCRIPT, "--device", "cpu", "--small", "--budget", "900", "--out", out]
    environment = os.environ | {"TORCHDYNAMO_DISABLE": "1"}  # compiling takes minutes, and is tested elsewhere
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())["measurements"]
    assert {name: about["status"] for name, about in found.items() if name != "memory"} == dict.fromkeys(
        found.keys() - {"memory"}, "ok"
    )
    assert found["memory"]["status"] == "skipped: needs a CUDA device"
    assert found["resume"]["checks"]
    assert "| mlp_throughput: samples_per_second, run, eager |" in done.stdout


@pytest.mark.long
def test_a_measurement_that_does_not_exist_is_named() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--only", "nl"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "--only nl: there is" in done.stderr
