"""Music as tokens of voices or as a piano roll. Notes are defined in the module `notes`."""
