"""Where the trainings of a run go: processes on this machine, a Ray cluster, or a Slurm cluster."""
