"""From images of any source to a dataset folder, once."""
