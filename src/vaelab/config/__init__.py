"""Compose, check and build configs: from the command line to the objects that a config names."""
