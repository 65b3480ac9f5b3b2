"""The network and its layer table. Does not depend on the pipeline."""

from feedline.model.resnet import resnet18
from feedline.model.summary import layer_table

__all__ = ["layer_table", "resnet18"]
