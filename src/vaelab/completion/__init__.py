"""Shell completion of commands, config groups, options, keys and flags.

What runs when TAB is pressed imports the standard library alone.
"""
