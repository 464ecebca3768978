"""`vaelab rerun`: a run done again from its record, and its numbers held against the first ones. Imports no torch."""
