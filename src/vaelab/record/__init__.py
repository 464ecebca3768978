"""What a run leaves behind: its folder, and what the trackers get."""
