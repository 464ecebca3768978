"""Hyperparameter search: `python train.py sweep=optuna`, with optuna's ask-and-tell interface.

Imports neither optuna nor torch: the command line imports it before it knows whether there is a search.
"""
