"""Measurements: other loaders, stages, scale, whole machines. Not installed with the package."""
