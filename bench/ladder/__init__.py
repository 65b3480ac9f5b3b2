"""The ladder: a series of measurements of one machine. See `python -m bench.ladder --help`."""
