"""What the command line adds to Hydra's: a user's own settings, own encoders, and errors for people."""
