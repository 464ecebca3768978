"""`sweep=wandb`: a sweep of W&B. Its server proposes values, and its agent starts each trial on this machine.

Imports neither wandb nor torch: the command line looks in here before it knows that there is a sweep.
"""
