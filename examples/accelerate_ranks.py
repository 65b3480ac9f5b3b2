"""Accelerate on several processes: each takes its share of every batch, and the metrics of all are added up.

    python convert/build.py --source sample
    pip install accelerate
    torchrun --nproc-per-node 2 examples/accelerate_ranks.py --data data/sample

`batch_size` is that of all processes together: a run on 1 or 8 of them sees the same batches. `prepare` leaves the
loaders as they are, since their batches are on the device and already divided.
"""

import argparse
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch.nn.functional import cross_entropy
from torchvision.models import resnet18

from feedline import Loader


@torch.inference_mode()
def evaluate(accelerator: Accelerator, model: torch.nn.Module, loader: Loader) -> float:
    """The share of images, over all processes, that are classified correctly.

    Every image comes once, so processes may have a different number of batches: each adds up its own, and they meet at
    the end. For the same reason the model is used without its DistributedDataParallel, which would wait for the others
    in each batch.
    """
    model = accelerator.unwrap_model(model).eval()
    for statistics in model.buffers():  # of its norms: each process has its own of the last batch
        broadcast(statistics)
    counts = torch.zeros(2, device=loader.device)  # correct, and all
    for images, labels in loader:
        counts[0] += (model(images).argmax(1) == labels).sum()
        counts[1] += len(labels)
    correct, images_in_all = accelerator.reduce(counts).tolist()
    assert images_in_all == len(loader.dataset)
    return correct / images_in_all


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains with Accelerate, on any number of processes.")
    parser.add_argument("--data", default="data/sample", help="a dataset folder")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=64, help="of all processes together")
    args = parser.parse_args()

    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    share: dict[str, Any] = {
        "rank": accelerator.process_index,
        "world_size": accelerator.num_processes,
        "device": accelerator.device,
    }
    train = Loader(args.data, part="train", batch_size=args.batch_size, **share)
    val = Loader(args.data, part="val", batch_size=args.batch_size, **share)

    torch.manual_seed(0)
    model = resnet18(num_classes=len(train.dataset.classes)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model, optimizer, train, val = accelerator.prepare(model, optimizer, train, val)
    accelerator.register_for_checkpointing(train)  # save_state() and load_state() then know where the loader stands

    for epoch in range(args.epochs):
        model.train()
        total = torch.zeros((), device=accelerator.device)
        for images, labels in train:
            loss = cross_entropy(model(images), labels)
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
            total += loss.detach()
        loss = accelerator.reduce(total, reduction="mean").item() / len(train)
        top1 = evaluate(accelerator, model, val)
        accelerator.print(f"epoch {epoch + 1}: loss {loss:.3f}, val top-1 {top1:.1%}")
    accelerator.end_training()


if __name__ == "__main__":
    main()
