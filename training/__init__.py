"""Trains on the batches: loop, state, checkpoints, evaluation, LR range test, benchmark, reports."""
