"""The record of a run: its folder, and what trackers receive."""
