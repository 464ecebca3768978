"""What a step frees, the next one gets without asking the system."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from vaelab.training.allocation import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
x = torch.rand(10_000_000)
for step in range(60):  # the first ones find out which holes fit
    if step == 50:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    y = x * x
    del y
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
@pytest.mark.long
def test_large_tensors_are_not_fetched_page_by_page_again() -> None:
    faults = {
        choice: int(subprocess.run([sys.executable, "-c", FAULTS, choice], capture_output=True, check=True).stdout)
        for choice in ("keep", "leave")
    }
    assert faults["leave"] > 10  # 40 MB, ten times; huge pages may make few of them
    assert faults["keep"] < faults["leave"] / 5
