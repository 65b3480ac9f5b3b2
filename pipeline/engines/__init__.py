"""Engines turn plan batches into normalised batches. `choose.py` decides which one; each is a file or folder."""
