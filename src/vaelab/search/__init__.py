"""A search of hyperparameters: `python train.py sweep=optuna`, on optuna's ask and tell.

Imports neither optuna nor torch: the command line looks in here before it knows that there is a search.
"""
