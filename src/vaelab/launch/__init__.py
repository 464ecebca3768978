"""How the jobs of a sweep run: processes of this machine, or jobs of SLURM."""
