import json
import sys
from datetime import datetime

import pytest
import torch

from vaelab.record.environment import environment


def test_the_record_of_a_run_is_plain_and_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = ["a/train.py", "seed=0", "tags=[a b]", "logger.x.token=a hunter2", "uri=http://u:hunter2@h/"]
    monkeypatch.setattr(sys, "argv", typed)
    monkeypatch.setenv("WANDB_API_KEY", "hunter2")
    found = environment(0, torch.device("cpu"), "32-true")
    assert "hunter2" not in json.dumps(found)
    assert found["seed"] == 0
    assert found["command"].startswith("python train.py seed=0 'tags=[a b]'")
    assert found["packages"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert datetime.fromisoformat(found["started"]).tzinfo is not None
    assert set(found) == {
        "python", "platform", "packages", "git", "device", "threads", "machine", "precision", "seed", "command",
        "started",
    }  # fmt: skip
