"""Networks by their function: what people may pass in place of ResNet18."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from feedline.pipeline.errors import InputError

# Builds a model for a number of classes. It may take the options of ModelConfig as keywords; only those that are set
# are passed.
Network = Callable[..., nn.Module]


def build_network(network: Network, classes: int, options: Mapping[str, Any]) -> nn.Module:
    """Calls a network's function with the number of classes and the options that are set.

    Raises:
        InputError: if an option is set that the network does not take.
    """
    parameters = inspect.signature(network).parameters
    takes_all = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    for name, value in options.items():
        if name not in parameters and not takes_all:
            raise InputError(f"`{name}={value}`: this network does not take it; leave it out, or add the keyword to it")
    return network(classes, **options)
