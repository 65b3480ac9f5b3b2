"""A timm model in a plain PyTorch loop.

    python convert/build.py --source sample
    pip install timm
    python examples/timm_model.py --data data/sample

Any classifier of timm will do, as `--model vit_tiny_patch16_224 --image-size 224`.
"""

import argparse
from typing import Any

import timm
import torch
from torch.nn.functional import cross_entropy

from feedline import Loader


def train_epoch(model: torch.nn.Module, loader: Loader, optimizer: torch.optim.Optimizer) -> float:
    """Trains for one epoch; returns the mean loss."""
    model.train()
    total = torch.zeros((), device=loader.device)
    for images, labels in loader:  # normalised float32 [B, 3, H, W] and int64 [B], both on the device
        loss = cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach()
    return total.item() / len(loader)


@torch.inference_mode()
def evaluate(model: torch.nn.Module, loader: Loader) -> float:
    """The share of images that are classified correctly."""
    model.eval()
    correct = torch.zeros((), device=loader.device)
    for images, labels in loader:
        correct += (model(images).argmax(1) == labels).sum()
    return correct.item() / len(loader.dataset)


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains a timm model.")
    parser.add_argument("--data", default="data/sample", help="a dataset folder")
    parser.add_argument("--model", default="resnet18", help="name of a timm model")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--image-size", type=int, default=64)
    args = parser.parse_args()

    device = "cuda" if torch.cuda.is_available() else "cpu"
    augment = ["random-resized-crop:scale=0.35-1", "flip"]
    common: dict[str, Any] = {"batch_size": args.batch_size, "image_size": args.image_size, "device": device}
    train = Loader(args.data, part="train", augment=augment, **common)
    val = Loader(args.data, part="val", **common)

    torch.manual_seed(0)
    model = timm.create_model(args.model, num_classes=len(train.dataset.classes))
    model = model.to(memory_format=torch.channels_last).to(device)  # as the loader's images are
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    for epoch in range(args.epochs):
        loss = train_epoch(model, train, optimizer)
        print(f"epoch {epoch + 1}: loss {loss:.3f}, val top-1 {evaluate(model, val):.1%}")


if __name__ == "__main__":
    main()
