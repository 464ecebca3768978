"""Launchers of the jobs of a sweep: processes of this machine, or jobs of SLURM."""
