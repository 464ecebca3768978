"""Measurements of trained models: encoded splits, scores, sample quality and baselines. Tasks choose among them."""
