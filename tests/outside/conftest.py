"""Packages that are not part of this one, found and trusted as a user's are."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = Path(__file__).parent / "packages"


@pytest.fixture(autouse=True)
def packages(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that the packages lie in, which Python then searches; they are forgotten afterwards."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(PACKAGES)])
    yield PACKAGES
    for name in [path.name for path in PACKAGES.iterdir()]:
        sys.modules.pop(name, None)
