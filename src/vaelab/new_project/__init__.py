"""`vaelab init`: writes a small project of the user's own: options, a backbone, a test."""
