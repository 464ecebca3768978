"""What the shell does with a trained model, one file for each kind of result. Nothing here imports torch at its top."""
