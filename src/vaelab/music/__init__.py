"""Music as notes on a grid of steps: read, written, counted and predicted."""
