"""Train or evaluate an autoencoder: `python train.py task=denoising data=digits model=ae`.

`python train.py --help` lists all options. The run itself is the function `vaelab.run.run`.
"""

import sys


def refuse(reason: str) -> None:
    """End with one line that says what to type instead. Any Python 3 can run this."""
    from shlex import quote

    typed = " ".join(map(quote, sys.argv[1:]))
    instead = f'make train ARGS="{typed}"' if typed else "make train"
    sys.exit(f"error: {reason}; type: {instead}")


if sys.version_info < (3, 11):  # noqa: UP036, `python3` may be an older version
    refuse(f"vaelab needs Python 3.11 or newer, and {sys.executable} is {sys.version.split()[0]}")
try:
    from vaelab.start import train
except KeyboardInterrupt:
    print("error: interrupted before the run began", file=sys.stderr)
    sys.exit(130)
except ModuleNotFoundError:
    refuse(f"vaelab is not installed for {sys.executable}")

if __name__ == "__main__":  # the completion of fish searches scripts for the words @hydra.main
    train()
