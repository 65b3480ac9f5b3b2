"""What an evaluation leaves: eval.json, per_class.csv, predictions.csv and the lines on the console."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from feedline.cli.reports import report_evaluation
from feedline.output import counted, listed
from feedline.pipeline.dataset import ClassInfo
from feedline.pipeline.files import write_json
from feedline.pipeline.loader import Loader
from feedline.training.class_figures import most_confused, per_class
from feedline.training.config import Config
from feedline.training.evaluate import Evaluation
from feedline.training.meter import hardware, versions
from feedline.training.predictions import write_predictions
from feedline.training.records import write_csv
from feedline.use.names import class_name

LISTED = 5  # classes and pairs in a line


def report(
    out: Path, config: Config, loader: Loader, path: Path, evaluation: Evaluation, known: int | None
) -> dict[str, Any]:
    """Writes the files and prints the totals, the hardest and easiest classes and the pairs confused most.

    Returns the content of eval.json.

    Args:
        out: the folder for the files.
        config: of the evaluation.
        loader: of the images evaluated.
        path: of the checkpoint.
        evaluation: its result.
        known: how many of the images the checkpoint's run trained on; None if that is not known.
    """
    classes = loader.folder.classes[: loader.classes]
    pairs = most_confused(evaluation.confusion, 20)
    print(f"{path}: {_totals(evaluation)}" + (f", {known:,} of them trained on" if known else ""))
    _print_classes(classes, evaluation)
    for a, b, images in pairs[:LISTED]:
        print(f"confused: {class_name(classes[a])} taken for {class_name(classes[b])}: {counted(images, 'image')}")
    sys.stdout.flush()  # before it is written: a disk may be full
    content = {**_content(config, loader, path, evaluation, pairs), "trained_on": known}
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "eval.json", content)
    _write_per_class(out / "per_class.csv", classes, evaluation)
    write_predictions(out / "predictions.csv", loader.folder, evaluation.predictions)
    page = report_evaluation(out, content, loader, evaluation.predictions)
    files = {"report": page.name, "each class": "per_class.csv", "each image": "predictions.csv", "all": "eval.json"}
    print("  ".join(f"{what}: {out / name}" for what, name in files.items()))
    return content


def _content(
    config: Config, loader: Loader, path: Path, evaluation: Evaluation, pairs: Sequence[tuple[int, int, int]]
) -> dict[str, Any]:
    """What eval.json holds."""
    dataset, classes = loader.folder, loader.folder.classes
    top5 = evaluation.top5
    return {
        "checkpoint": str(path),
        "split": config.loader.split,
        "part": loader.part,
        "images": evaluation.images,
        "image_size": list(loader.output(0)),
        "top1": round(evaluation.top1, 4),
        "top5": None if top5 is None else round(top5, 4),
        "balanced": round(evaluation.balanced, 4),
        "macro_f1": round(evaluation.macro_f1, 4),
        "loss": round(evaluation.loss, 5),
        "tta": config.run.tta,
        "tta_views": config.run.views,
        "without_images": [c.folder for c, n in zip(classes, _images(evaluation), strict=False) if not n],
        "confused": _confused(classes, evaluation, pairs),
        "dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint},
        "hardware": hardware(loader.device),
        "versions": versions(),
    }


def _totals(evaluation: Evaluation) -> str:
    top5 = "" if evaluation.top5 is None else f"  top-5 {evaluation.top5:.2f} %"
    balanced = f"  balanced {evaluation.balanced:.2f} %  macro F1 {evaluation.macro_f1:.2f} %"
    return (
        f"top-1 {evaluation.top1:.2f} %{top5}{balanced if evaluation.uneven else ''}  loss {evaluation.loss:.4f}  on "
        f"{counted(evaluation.images, 'image')}"
    )


def _print_classes(classes: Sequence[ClassInfo], evaluation: Evaluation) -> None:
    """Prints which classes are hard and easy, and which have no image."""
    pairs = zip(classes, per_class(evaluation.confusion), strict=True)
    ranked = sorted(((c, top1) for c, top1 in pairs if top1 is not None), key=lambda pair: pair[1])
    ends = {"hardest": ranked[:LISTED], "easiest": ranked[: -LISTED - 1 : -1]}
    for what, part in (ends if len(ranked) > 2 * LISTED else {"classes": ranked}).items():
        print(f"{what}: " + "; ".join(f"{class_name(c)} {top1:.0f} %" for c, top1 in part))  # names may have commas
    if empty := [class_name(c) for c, images in zip(classes, _images(evaluation), strict=True) if not images]:
        print(f"no images to evaluate: {listed(empty, LISTED)}")


def _images(evaluation: Evaluation) -> list[int]:
    """The number of images of each class."""
    images: list[int] = evaluation.confusion.sum(axis=1).tolist()
    return images


def _write_per_class(path: Path, classes: Sequence[ClassInfo], evaluation: Evaluation) -> None:
    """A line for each class; top1 is empty where it has no image."""
    rows = zip(classes, per_class(evaluation.confusion), _images(evaluation), strict=True)
    write_csv(
        path,
        [
            {"class": c.folder, "words": c.words, "images": n, "top1": None if a is None else round(a, 3)}
            for c, a, n in rows
        ],
    )


def _confused(
    classes: Sequence[ClassInfo], evaluation: Evaluation, pairs: Sequence[tuple[int, int, int]]
) -> list[dict[str, Any]]:
    """The pairs of classes with most wrong predictions."""
    totals = _images(evaluation)
    return [
        {"class": classes[a].folder, "words": classes[a].words, "predicted": classes[b].folder,
         "predicted_words": classes[b].words, "images": n, "share": round(100 * n / totals[a], 2)}
        for a, b, n in pairs
    ]  # fmt: skip
