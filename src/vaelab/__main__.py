"""`python -m vaelab`."""

import sys
from pathlib import Path

if Path(sys.path[0]) == Path(__file__).parent:  # a trial or another process of a run starts this file by its path
    del sys.path[0]  # its modules would shadow modules of Python, such as `secrets`

from vaelab.start import main

if __name__ == "__main__":
    main()
