"""What people look at: a local page that shows protected pictures and facts, nothing else."""
