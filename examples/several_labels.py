"""Several labels for each image, with binary cross-entropy.

    python convert/build.py --source sample
    python examples/several_labels.py --data data/sample

The targets are an array with one row for each image of the dataset. Here the rows come from a table of tags by class,
which is the folder in an image's path. A table with one row for each file is read the same way.
"""

import argparse

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision.models import resnet18

from feedline import Dataset, Loader

TAGS = ["round", "corners", "hollow", "several parts"]
TABLE = {
    "disc": ["round"],
    "ring": ["round", "hollow"],
    "crescent": ["round", "corners"],
    "triangle": ["corners"],
    "square": ["corners"],
    "star": ["corners"],
    "cross": ["corners"],
    "bar": ["corners"],
    "stripes": ["corners", "several parts"],
    "dots": ["round", "several parts"],
}


def make_targets(folder: Dataset) -> NDArray[np.float32]:
    """float32 [images, tags] of 0 and 1; row i is for image id i, of all parts."""
    shapes = {c.folder: c.words for c in folder.classes}
    targets = np.zeros((folder.count, len(TAGS)), dtype=np.float32)
    for image in range(folder.count):
        _, name, _ = folder.path(image).split("/")  # as train/n90000000/n90000000_0.JPEG
        for tag in TABLE[shapes[name]]:
            targets[image, TAGS.index(tag)] = 1
    return targets


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains a model that gives each image several labels.")
    parser.add_argument("--data", default="data/sample", help="the built-in sample")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=64)
    args = parser.parse_args()

    device = "cuda" if torch.cuda.is_available() else "cpu"
    folder = Dataset(args.data)
    targets = make_targets(folder)
    train = Loader(folder, part="train", targets=targets, batch_size=args.batch_size, device=device)
    val = Loader(folder, part="val", targets=targets, batch_size=args.batch_size, device=device)

    torch.manual_seed(0)
    model = resnet18(num_classes=len(TAGS)).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for epoch in range(args.epochs):
        model.train()
        for images, tags in train:  # tags: float32 [B, 4]
            loss = binary_cross_entropy_with_logits(model(images), tags)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.inference_mode():
            right = sum(((model(images) > 0) == (tags > 0.5)).sum(0) for images, tags in val) / len(val.dataset)
        shares = ", ".join(f"{tag} {share:.1%}" for tag, share in zip(TAGS, right.tolist(), strict=True))
        print(f"epoch {epoch + 1}: right on val: {shares}")


if __name__ == "__main__":
    main()
