"""Datasets that are read in Python, item by item: torchvision's, Hugging Face's, people's own classes.

`build.py` holds `from_dataset`. A row is what an item gives (`rows.py`): an image (`pixels.py`) and a target, which
becomes a label (`labels.py`). `chunks.py` reads rows and turns them into image files, here or in worker processes.
"""
