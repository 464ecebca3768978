"""`vaelab reproduce`: recorded results of experiments, published results, and a check that experiments reach them."""
