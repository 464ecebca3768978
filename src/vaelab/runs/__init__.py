"""`vaelab runs`: lists every run in a folder, whatever its status. Imports no torch."""
