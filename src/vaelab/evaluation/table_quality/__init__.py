"""How close generated rows of a table are to real ones, in the units of its columns."""
