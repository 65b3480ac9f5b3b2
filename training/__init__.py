"""What happens with the batches: the loop, the LR range test, evaluation, checkpoints, benchmarks, reports."""
