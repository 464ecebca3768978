"""Results of sweeps and searches: a table, the best command line, figures, `sweep.html` and CSV. Imports no torch."""
