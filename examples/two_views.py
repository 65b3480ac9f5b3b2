"""Self-supervised training (SimCLR) on two views of each image, which is read and decoded once.

    python convert/build.py --source sample
    python examples/two_views.py --data data/sample

The loss falls below ln(2 * batch size - 1), which is what guessing costs.
"""

import argparse

import torch
from torch.nn.functional import cross_entropy, normalize
from torchvision.models import resnet18

from feedline import Loader

AUGMENT = [
    "random-resized-crop:scale=0.2-1",
    "flip",
    "color-jitter:brightness=0.4:contrast=0.4:saturation=0.4:hue=0.1",
]


def contrastive_loss(a: torch.Tensor, b: torch.Tensor, temperature: float = 0.2) -> torch.Tensor:
    """NT-Xent (Chen et al., 2020): each view has to find the other view of its image among all others.

    Args:
        a: float [B, D], projections of the first views.
        b: float [B, D], of the second views of the same images.
        temperature: divides the cosines.
    """
    z = normalize(torch.cat([a, b]), dim=1)
    similar = (z @ z.T / temperature).fill_diagonal_(-torch.inf)  # a view is not compared with itself
    other = torch.arange(len(z), device=z.device).roll(len(a))
    return cross_entropy(similar, other)


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains an encoder without labels.")
    parser.add_argument("--data", default="data/sample", help="a dataset folder")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--image-size", type=int, default=48)
    args = parser.parse_args()

    device = "cuda" if torch.cuda.is_available() else "cpu"
    loader = Loader(
        args.data,
        views=2,
        augment=AUGMENT,
        image_size=args.image_size,
        batch_size=args.batch_size,
        device=device,
    )
    torch.manual_seed(0)
    encoder = resnet18(num_classes=128).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-3)
    for epoch in range(args.epochs):
        total = torch.zeros((), device=device)
        for images, _ in loader:  # [2, B, 3, H, W]
            a, b = encoder(images.flatten(0, 1)).chunk(2)  # both views in one pass
            loss = contrastive_loss(a, b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
        print(f"epoch {epoch + 1}: loss {total.item() / len(loader):.3f}")


if __name__ == "__main__":
    main()
