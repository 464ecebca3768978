"""The similarity of generated and real rows of a table, in the units of its columns."""
