"""How sweeps and searches end: a table, the best command line, figures, `sweep.html` and CSV. Imports no torch."""
