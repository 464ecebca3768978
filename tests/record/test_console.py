"""What a user has named is shown as it is."""

import pytest

from vaelab.record.console import print_config, print_metrics
from vaelab.terminal import console

NAMES = ["[a]", "[red]x[/]", "[/]", ":cat:", "[link=x]y"]


def test_no_name_is_taken_for_markup(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    data = {"_target_": "vaelab.data.Table", "drop": NAMES, "scale": {"[b]": ":dog:"}}
    print_config({"data": data, "tags": NAMES}, {"data": "[table]"})
    print_metrics({f"test/{name}": 1.0 for name in NAMES}, "logs/[bold]/:cat:")
    console(stderr=True).print(f"note: column {NAMES}", soft_wrap=True)
    printed = capsys.readouterr()
    for name in (*NAMES, "[b]", ":dog:", "[table]", "logs/[bold]/:cat:"):
        assert name in printed.out
    assert str(NAMES) in printed.err
