"""Every random choice of the data side, as plain arrays."""

from feedline.pipeline.plan.batch import PlanBatch
from feedline.pipeline.plan.mixing import Mix, MixBatch
from feedline.pipeline.plan.plan import Blocks, Plan

__all__ = ["Blocks", "Mix", "MixBatch", "Plan", "PlanBatch"]
