"""Judges the suggestions of the LR range test by what they lead to: short trainings at many learning rates."""
