"""`vaelab compare`: any set of finished runs as one table and one figure. Imports no torch."""
