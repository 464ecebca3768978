"""Nothing that a run or a sweep writes into its folder holds a secret of its command line."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.long
def test_no_file_of_a_sweep_holds_a_password(in_process: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "conf/experiment").mkdir(parents=True)
    option = "# @package _global_\nckpt_path: null\ntags: ['http://user:hunter2@host/']\n"
    (tmp_path / "conf/experiment/mine.yaml").write_text(option)
    secrets = "tags=['http://user:hunter2@host/','token=hunter2']"
    in_process("-m", f"--config-dir={tmp_path / 'conf'}", "debug=fdr", "experiment=mine", "logger=none", secrets)
    files = [p for p in (tmp_path / "logs").rglob("*") if p.is_file()]
    assert {"config.yaml", "overrides.yaml", "environment.json", "multirun.yaml"} <= {p.name for p in files}
    for path in files:
        assert b"hunter2" not in path.read_bytes(), path
