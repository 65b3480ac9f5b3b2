"""The network and its layer table. Knows nothing of where batches come from."""

from feedline.model.resnet import resnet18
from feedline.model.summary import layer_table

__all__ = ["layer_table", "resnet18"]
