"""A small project of one's own: options, a backbone, a test."""
