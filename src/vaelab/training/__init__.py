"""Everything around a training step: meters, optimizers, schedulers, checkpoints, signals and progress."""
