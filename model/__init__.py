"""The network and its layer table. Does not depend on the pipeline."""

from feedline.model.drop_path import share_draws
from feedline.model.resnet import resnet18, stem_for
from feedline.model.summary import layer_table

__all__ = ["layer_table", "resnet18", "share_draws", "stem_for"]
