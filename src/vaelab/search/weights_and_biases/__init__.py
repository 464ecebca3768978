"""`sweep=wandb`: a sweep of W&B. Its server proposes values, and its agent starts each trial on this machine.

This package imports neither wandb nor torch, because the command line imports it before it knows whether a sweep is
requested.
"""
