"""The control plane: expands sweeps into jobs, runs them on Slurm or here, and knows their state."""

__version__ = "0.1.0"
