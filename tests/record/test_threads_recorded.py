"""What a run records of threads and of its first weights, by which a later one can be the same to the last bit."""

import os

import pytest
import torch

from vaelab.record.first_weights import fingerprint
from vaelab.record.machine import machine
from vaelab.record.threads import VARIABLES, thread_variables, threads_as_recorded


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_variables_are_set_as_recorded_and_unset_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MKL_NUM_THREADS", "2")  # what is set by hand wins
    assert thread_variables() == {"MKL_NUM_THREADS": "2"}
    with threads_as_recorded({"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "4"}) as chosen:
        assert chosen == ["OMP_NUM_THREADS=3"]
        assert thread_variables() == {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "2"}
    assert thread_variables() == {"MKL_NUM_THREADS": "2"}


@pytest.mark.parametrize("text", ["0", "-1", "257", "1e2", "", " 2", "2;ls", "٣", 2, None, ["2"]])
def test_what_is_no_number_of_threads_is_left_out(text: object) -> None:
    before = dict(os.environ)
    with threads_as_recorded({"OMP_NUM_THREADS": text, "PATH": "/tmp"}) as chosen:
        assert chosen == []
        assert dict(os.environ) == before


def test_the_machine_is_named() -> None:
    found = machine(torch.device("cpu"), 2)
    assert found["cpu"]
    assert (found["devices"], found["cuda"], found["cudnn"]) == (2, None, None)
    assert found["cpus"] == os.cpu_count()


def test_a_fingerprint_is_that_of_names_shapes_and_values() -> None:
    weights = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)}
    known = fingerprint(weights)
    assert known == fingerprint(dict(reversed(weights.items())))
    others = [
        {"a": weights["a"], "c": weights["b"]},
        {"a": weights["a"].reshape(3, 2), "b": weights["b"]},
        {"a": torch.nextafter(weights["a"], torch.tensor(9.0)), "b": weights["b"]},
        {"a": weights["a"].double(), "b": weights["b"]},
    ]
    assert len({known, *map(fingerprint, others)}) == 5
    images = torch.randn(4, 3, 5, 5)
    assert fingerprint({"w": images}) == fingerprint({"w": images.to(memory_format=torch.channels_last)})
