"""Seeds."""

import secrets

from lightning.pytorch import seed_everything


def seed_all(seed: int | None) -> int:
    """Seed Python, NumPy and torch; draws a seed where none is given. Returns it. 0 is a seed."""
    chosen = secrets.randbelow(2**31) if seed is None else seed
    seed_everything(chosen, verbose=False)
    return chosen
