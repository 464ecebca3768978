"""Commands that use a trained model, one file for each kind of result. No module here imports torch at its top."""
