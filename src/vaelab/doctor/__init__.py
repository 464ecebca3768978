"""`vaelab doctor`: checks this machine for what training needs."""
