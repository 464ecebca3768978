"""What happens around a training step: meters, optimizers, schedulers, progress."""
