"""Lightning's Trainer takes the loaders as they are. A run that was stopped anywhere resumes exactly.

    python convert/build.py --source sample
    pip install lightning
    python examples/lightning_fit.py --data data/sample

Stop it with Ctrl-C, or with `--max-steps 100`, and resume in the middle of the epoch:

    python examples/lightning_fit.py --data data/sample --resume runs/lightning/last.ckpt

Lightning keeps the train loader's `state_dict()` in each checkpoint. The resumed run sees the images, crops and flips
that the stopped run would have seen next. On a CPU it ends with the same weights, bit for bit; on a GPU that also takes
`Trainer(deterministic=True)`.
"""

import argparse
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.nn.functional import cross_entropy
from torchvision.models import resnet18

from feedline import Loader


class Classifier(L.LightningModule):
    """A ResNet18."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.model = resnet18(num_classes=classes).to(memory_format=torch.channels_last)

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        images, labels = batch
        loss = cross_entropy(self.model(images), labels)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: list[torch.Tensor], index: int) -> None:
        images, labels = batch
        top1 = (self.model(images).argmax(1) == labels).float().mean()
        self.log("val_top1", top1, batch_size=len(labels), prog_bar=True, sync_dist=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains with Lightning.")
    parser.add_argument("--data", default="data/sample", help="a dataset folder")
    parser.add_argument("--out", type=Path, default=Path("runs/lightning"), help="folder for checkpoints and logs")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--max-steps", type=int, default=-1, help="stop after so many steps")
    parser.add_argument("--save-every", type=int, default=10, help="steps between checkpoints")
    parser.add_argument("--resume", help="a checkpoint")
    args = parser.parse_args()

    L.seed_everything(0)  # the first weights
    trainer = L.Trainer(
        max_epochs=args.epochs,
        max_steps=args.max_steps,
        accelerator="gpu" if torch.cuda.is_available() else "cpu",
        callbacks=ModelCheckpoint(args.out, every_n_train_steps=args.save_every, save_last="link"),
        logger=CSVLogger(args.out),
        log_every_n_steps=1,
    )
    share: dict[str, Any] = {
        "rank": trainer.global_rank,
        "world_size": trainer.world_size,
        "device": trainer.strategy.root_device,
    }
    train = Loader(args.data, part="train", batch_size=args.batch_size, **share)
    val = Loader(args.data, part="val", batch_size=args.batch_size, **share)
    trainer.fit(Classifier(len(train.dataset.classes)), train, val, ckpt_path=args.resume)
    trainer.save_checkpoint(args.out / "end.ckpt")


if __name__ == "__main__":
    main()
