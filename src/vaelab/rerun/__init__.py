"""`vaelab rerun`: repeats a run from its record, and compares the results of the two runs. Imports no torch."""
