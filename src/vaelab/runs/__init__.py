"""`vaelab runs`: every run in a folder, whatever became of it. Imports no torch."""
