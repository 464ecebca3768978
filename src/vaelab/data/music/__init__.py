"""Music as tokens of voices or as a piano roll; what a note is lies in its module `notes`."""
