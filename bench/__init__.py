"""Peers side by side: the same work by others, for comparison. Not part of a run."""
