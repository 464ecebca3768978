"""Additions to Hydra's command line: a user's own settings, own encoders, and readable errors."""
