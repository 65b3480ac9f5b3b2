"""python -m bench.torchvision_accuracy: train.py's training loop with batches from torchvision and a torch DataLoader.

Everything else is the same: recipe, split, model, seed, evaluation. If our loader made wrong batches, the accuracies
would differ.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms

from bench.common import command, command_line
from feedline import InputError, Loader
from feedline.cli.build import choose_device, make_loader, make_model
from feedline.cli.parser import parse
from feedline.cli.request import Request
from feedline.pipeline.augment import Flip, PadCrop, resolve_training
from feedline.pipeline.files import write_json
from feedline.pipeline.loader import Batch
from feedline.training.loop import Trainer


class ListedImages(TorchDataset[tuple[torch.Tensor, int]]):
    """The images of a part of a split, opened as torchvision's ImageFolder does."""

    def __init__(self, loader: Loader, transform: Any) -> None:
        data, ids = loader.folder, loader.plan.ids.tolist()
        self.samples = [(data.root / data.path(i), int(data.labels[i])) for i in ids]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, label = self.samples[index]
        with Image.open(path) as image:
            return self.transform(image.convert("RGB")), label


class TorchvisionLoader(Loader):
    """A train loader whose batches come from torchvision transforms and a torch DataLoader."""

    @classmethod
    def like(cls, loader: Loader, padding: int, seed: int) -> "TorchvisionLoader":
        twin: TorchvisionLoader = object.__new__(cls)
        twin.__dict__.update(loader.__dict__)
        spec = loader.spec
        steps = [
            transforms.RandomCrop(spec.output, padding=padding),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(spec.mean, spec.std),
        ]
        twin.generator = torch.Generator().manual_seed(seed)
        twin.source = DataLoader(
            ListedImages(loader, transforms.Compose(steps)),
            batch_size=loader.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=spec.threads,
            persistent_workers=True,
            generator=twin.generator,
        )
        twin.store_name, twin.engine_name = "files", "torchvision"  # type: ignore[assignment]
        return twin

    generator: torch.Generator
    source: "DataLoader[tuple[torch.Tensor, int]]"

    def __iter__(self) -> Iterator[Batch]:
        for images, labels in self.source:
            moved = images.to(self.device, memory_format=torch.channels_last, non_blocking=True)
            yield moved, labels.to(self.device, non_blocking=True)


@command("bench.torchvision_accuracy")
def main(argv: Sequence[str] | None = None) -> int:
    """Takes the flags of `train.py --mode train`. Uses --recipe, --out and the recipe keys; ignores the others."""
    return run(_request(sys.argv[1:] if argv is None else list(argv)))


def _request(words: list[str]) -> Request:
    _, options, flags = parse(["--mode", "train", *words])
    return Request(
        mode="torchvision",
        flags=flags,
        command=command_line("bench.torchvision_accuracy", words),
        recipe=options.get("recipe"),
        out=options.get("out"),
    )


def run(request: Request) -> int:
    config, dataset = request.opened()
    device, out = choose_device(config.run.device), Path(request.folder())
    train, val = make_loader(config, dataset, "train", device), make_loader(config, dataset, "val", device)
    augment = resolve_training(config.loader.augment, train.folder.image_size, train.spec.output)
    crop, more = augment.crop, augment.editors or type(augment.flip) is not Flip
    if not isinstance(crop, PadCrop) or more or train.spec.resize:
        raise InputError("this comparison supports only pad-crop and flip, at the original image size")
    twin = TorchvisionLoader.like(train, crop.padding, config.run.seed)
    result = Trainer(config, make_model(config, dataset, request.network), twin, val, out).fit()
    write_json(out / "summary.json", {"command": request.command, **result})
    print(f"best val top-1 {result['best']['val_top1']:.2f} %  {result['images_per_s']:,.0f} images/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
