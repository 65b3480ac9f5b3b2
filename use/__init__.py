"""Uses trained networks: loads checkpoints, predicts for files, exports to other programs."""
