"""The ladder: what a machine makes of all this, rung by rung. See `python -m bench.ladder --help`."""
