"""Numbers that experiments gave and others published, and whether an experiment gives them again."""
