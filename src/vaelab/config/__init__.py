"""What happens to a config between the command line and the objects it names."""
