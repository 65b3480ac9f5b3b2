"""From any image source to a dataset folder, once."""
