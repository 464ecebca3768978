"""`python -m vaelab`."""

from vaelab.start import main

if __name__ == "__main__":
    main()
