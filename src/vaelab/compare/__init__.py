"""`vaelab compare`: compares finished runs in one table and one figure. Imports no torch."""
