"""What a user has named is shown as it is."""

import pytest
from rich.console import Console

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


def test_no_value_of_a_config_is_obeyed_by_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[31mred\x9b2J\nerror: all is well"
    print_config({"data": {"_target_": evil, "path": evil, evil: {"a": [evil]}}, "tags": evil}, {})
    printed = capsys.readouterr().out
    assert "\x1b[31m" not in printed
    assert "\x9b" not in printed
    assert not [line for line in printed.splitlines() if line.startswith("error")]
    assert r"\x1b[31mred" in printed


@pytest.mark.parametrize("width", [20, 40, 80, 120])
def test_names_and_numbers_are_whole_however_narrow_the_terminal_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr("vaelab.record.console.console", lambda: Console(width=width))
    names = ["marginal_distance", "marginal_distance_fitted", "real_or_synthetic_auroc_fitted", "fid"]
    columns = ["val", "test", "baseline/gaussian_copula", "baseline/pca_gaussian", "baseline/train_split"]
    numbers = {f"{column}/{name}": -0.00012345 for column in columns for name in names}
    print_metrics(numbers, "logs/run")
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert max(map(len, printed.splitlines())) <= width
    if width >= 60:
        assert all(name in printed for name in (*names, "gaussian_copula", "pca_gaussian", "train_split"))
        assert printed.count("-0.00012345") == len(numbers)
    if width == 80:
        shown = [line.split()[1] for line in printed.splitlines() if line.startswith("│")]
        assert set(shown) == set(names)
