"""--mode eval: a checkpoint on a split."""

from pathlib import Path
from typing import Any

import torch

from feedline.pipeline.dataset import Dataset
from feedline.pipeline.errors import InputError
from feedline.training import checkpoint
from feedline.training.config import Config
from feedline.training.evaluate import Evaluation, evaluate, most_confused, per_class
from feedline.training.meter import hardware, versions
from feedline.training.modes.common import (
    Request,
    check_dataset,
    choose_device,
    given_values,
    latest_checkpoint,
    make_loader,
    make_model,
    memory_errors,
    saved_config,
    say_feed,
)
from feedline.training.precision import Precision
from feedline.training.report import write_csv, write_json


def run(request: Request) -> int:
    """Evaluates a checkpoint: top-1, top-5, each class, and the pairs confused most."""
    ranks, named = request.ranks, request.config()
    dataset = Dataset(named.data.data)
    path, state = ranks.share(lambda: _checkpoint(request, dataset))
    check_dataset(state, dataset, path)
    # The run's own settings, with the flags of this command on top: what is not given is as in training.
    values = {**saved_config(state).flat(), "data": named.data.data, **given_values(request)}
    config = Config.build(state["recipe"], values)
    device = choose_device(config.run.device, ranks)
    network = make_model(config, dataset)
    try:
        network.load_state_dict(state["average"] or state["model"])
    except RuntimeError as error:
        raise InputError(
            f"{path}: its weights do not fit this model ({str(error).splitlines()[-1].strip()})"
        ) from error
    memory = torch.channels_last if config.run.channels_last else torch.contiguous_format
    with memory_errors(config, ranks):
        network = network.to(device, memory_format=memory)  # type: ignore[call-overload]
        loader = make_loader(config, dataset, "val", device, ranks)
        say_feed(loader, config)
        precision = Precision.choose(config.run, device)
        found = evaluate(network, loader, precision, tta=config.run.tta, ranks=ranks)
    if ranks.first:
        _report(request, config, dataset, device, path, found)
    return 0


def _checkpoint(request: Request, dataset: Dataset) -> tuple[Path, dict[str, Any]]:
    named = Path(request.checkpoint) if request.checkpoint else None
    path = named or latest_checkpoint(request.runs(), checkpoint.BEST, dataset.fingerprint)
    return path, checkpoint.load(path)


def _report(
    request: Request, config: Config, dataset: Dataset, device: torch.device, path: Path, found: Evaluation
) -> None:
    """Writes eval.json and per_class.csv and prints what stands out."""
    out = request.folder()
    classes, accuracy = dataset.classes[: config.data.classes], per_class(found)
    out.mkdir(parents=True, exist_ok=True)
    totals = found.confusion.sum(1).tolist()
    rows = zip(classes, accuracy, totals, strict=True)
    write_csv(
        out / "per_class.csv",
        [{"class": c.folder, "words": c.words, "images": n, "top1": round(a, 3)} for c, a, n in rows],
    )
    pairs = [
        {"class": classes[a].folder, "words": classes[a].words, "predicted": classes[b].folder,
         "predicted_words": classes[b].words, "images": n, "share": round(100 * n / totals[a], 2)}
        for a, b, n in most_confused(found, 20)
    ]  # fmt: skip
    result = {
        "checkpoint": str(path),
        "split": config.data.split,
        "images": found.images,
        "top1": round(found.top1, 4),
        "top5": round(found.top5, 4),
        "loss": round(found.loss, 5),
        "tta": config.run.tta,
        "confused": pairs,
        "dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint},
        "hardware": hardware(device),
        "versions": versions(),
    }
    write_json(out / "eval.json", result)
    print(
        f"{path}: top-1 {found.top1:.2f} %  top-5 {found.top5:.2f} %  loss {found.loss:.4f}  on {found.images:,} images"
    )
    ranked = sorted(zip(accuracy, classes, strict=True), key=lambda pair: pair[0])
    print("hardest: " + ", ".join(f"{_short(c.words)} {a:.0f} %" for a, c in ranked[:5]))
    print("easiest: " + ", ".join(f"{_short(c.words)} {a:.0f} %" for a, c in ranked[:-6:-1]))
    for pair in pairs[:5]:
        print(f"confused: {_short(pair['words'])} taken for {_short(pair['predicted_words'])}: {pair['images']} images")
    print(f"each class: {out / 'per_class.csv'}  all: {out / 'eval.json'}")


def _short(words: str) -> str:
    return words.split(",")[0]
