"""What a run makes of its settings on its dataset and machine: kept in checkpoints, compared when it is resumed."""

from collections.abc import Mapping
from typing import Any

import torch

from feedline.pipeline.errors import InputError
from feedline.pipeline.loader import Loader

# Of these a resumed run may have others, which change the order in which numbers are added.
MACHINE = ("torch_threads",)
WITH = ("store",)  # named in messages; another one is as good as long as it leads to the same


def resolved(train: Loader) -> dict[str, Any]:
    """What a run resolved: numbers, texts and lists.

    Args:
        train: the loader of its train part, before the first loop.
    """
    window = train.spec.window
    return {
        "torch_threads": torch.get_num_threads(),
        "store": train.store_name,
        "crop": str(getattr(getattr(train.plan.augment, "crop", None), "name", "")),
        "window": None if window is None else list(window),
        "size": list(train.output(0)),
        "eval_size": list(train.eval_output),
    }


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What to say of a run that is resumed with other resolved settings; checks that they lead to the same images.

    Args:
        before: of the checkpoint; what an older version did not keep is not compared.
        now: of this process.

    Raises:
        InputError: if sizes or crops differ.
    """
    for name in before.keys() & now.keys() - {*MACHINE, *WITH}:
        if before[name] != now[name]:
            store = before.get("store")
            raise InputError(
                f"`store={now.get('store')}`: gives this run another {name.replace('_', ' ')} "
                f"({_text(now[name])}, so far {_text(before[name])}); resume it with `store={store}`"
            )
    threads = [settings.get("torch_threads") for settings in (before, now)]
    if None in threads or threads[0] == threads[1]:
        return []
    return [
        f"{threads[1]} torch thread(s), so far {threads[0]}: sums are rounded differently, so the result will not "
        f"be the same to the bit; --torch-threads {threads[0]} keeps it"
    ]


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "x".join(map(str, value))
    return "that varies" if value is None else str(value)
