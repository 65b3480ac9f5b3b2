"""What `--mode bench` says of its measurements."""

import torch

from feedline.training.bench import Measurement


def advice(results: list[Measurement], auto: str, reason: str) -> str:
    """One sentence: which store to use on this machine.

    Args:
        results: what `measure` returned.
        auto: the store that `--store auto` takes.
        reason: why it takes this one.
    """
    loaders = [r for r in results if r.name.startswith("loader ")]
    best = max(loaders, key=lambda r: r.median)
    automatic = max((r for r in loaders if r.name.split()[1] == auto), key=lambda r: r.median, default=None)
    sentence = f"Store to use here: {auto} (what --store auto takes), because {reason}"
    if automatic is None:
        return f"{sentence}; it was not measured."
    if automatic is best:
        return f"{sentence}; it is also the fastest measured."
    return (
        f"{sentence}; {' '.join(best.name.split()[1:])} measured {best.median / automatic.median:.2f} times its speed."
    )


def verdict(
    results: list[Measurement], chosen: str, device: torch.device, batch_size: int, *, compiled: bool = False
) -> str:
    """One sentence: what limits the speed, by what factor, and what to try.

    Args:
        results: what `measure` returned.
        chosen: the loader that was measured together with the model.
        device: the model's device.
        batch_size: images in a batch.
        compiled: whether the model was compiled.
    """
    by_name = {result.name: result for result in results}
    loader, model, both = by_name[f"loader {chosen}"], by_name["model"], by_name["together"]
    factor = loader.median / model.median
    share = both.median / model.median
    noise = " (more than 100 % is noise: the model cannot be faster with the loader)" if round(share, 2) > 1 else ""
    reached = f"together they reach {both.median:,.0f} images/s, {share:.0%} of the model alone{noise}"
    if factor >= 1:
        flags = "--amp" if compiled else "--amp, --compile"
        advice = "a GPU" if device.type == "cpu" else f"{flags} or a --batch-size above {batch_size}"
        return (
            f"The model is the limit: the loader ({chosen}) gives {_times(factor)} times the images that the model "
            f"takes, and {reached}; for more speed try {advice}."
        )
    best = max((r for r in results if r.name.startswith("loader ")), key=lambda r: r.median)
    store, engine = best.name.split()[1:]
    if best is not loader:
        advice = f"--store {store} --engine {engine}, which gives {best.median / loader.median:.1f} times as much"
    elif store in ("files", "jpeg"):
        advice = "a raw pack (convert/build.py --packs jpeg,raw) and --store raw, or more --threads"
    elif store == "resident" or device.type == "cpu":
        advice = "more --threads"
    else:
        advice = "--store resident or more --threads"
    return (
        f"The loader is the limit: the model takes {_times(1 / factor)} times the images that the loader ({chosen}) "
        f"gives, and {reached}; try {advice}."
    )


def _times(factor: float) -> str:
    return f"{factor:,.0f}" if factor >= 100 else f"{factor:.1f}"
