"""Multivariate time series, whole or cut from recordings."""
