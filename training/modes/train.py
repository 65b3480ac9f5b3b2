"""--mode train: a new run, or an old one gone on with."""

import shlex
from pathlib import Path
from typing import Any

from pipeline.dataset import Dataset
from pipeline.errors import InputError
from training import checkpoint
from training.config import Config
from training.loop import Interrupted, Trainer, stop_on_signal
from training.modes.common import (
    Request,
    check_dataset,
    choose_device,
    given_values,
    latest_checkpoint,
    make_loader,
    make_model,
    saved_values,
    say_feed,
)
from training.modes.lrfind import resolve_max_lr

# What may change when a run goes on: none of it touches the result.
FREE_ON_RESUME = {"data", "store", "engine", "decode", "threads", "device", "log_every", "save_every"}


def run(request: Request) -> int:
    """Trains, or goes on with a run."""
    if request.resume:
        out = _run_to_resume(request)
        state = checkpoint.load(out / "last.pt")
        config = _resumed_config(request, state)
        dataset = Dataset(config.data.data)
        check_dataset(state, dataset, out / "last.pt")
        if state["position"]["epoch"] >= config.optim.epochs:
            raise InputError(f"--resume {out}: this run is complete; evaluate it with --mode eval, or start a new one")
    else:
        out, state, config = request.folder(), None, request.config()
        if (out / "last.pt").exists():
            raise InputError(f"--out {out}: holds a run already; go on with --resume {out}, or choose another --out")
        dataset = Dataset(config.data.data)
        config = resolve_max_lr(config, dataset, request.runs())
    device = choose_device(config.run.device)
    train, val = make_loader(config, dataset, "train", device), make_loader(config, dataset, "val", device)
    say_feed(train, config)
    trainer = Trainer(config, make_model(config, dataset), train, val, out, resume=state)
    if state is not None:
        at = trainer.at
        print(f"going on with {out} at epoch {at.epoch + 1}, step {at.step} of {len(train)}")
    try:
        with stop_on_signal(trainer):
            result = trainer.fit()
    except Interrupted:
        print(f"stopped and saved; go on with:\n  python train.py --mode train --resume {shlex.quote(str(out))}")
        return 130
    best = result["best"]
    print(
        f"best val top-1 {best['val_top1']:.2f} % (top-5 {best['val_top5']:.2f} %) at epoch {best['epoch']}; "
        f"{result['images_per_s']:,.0f} images/s, stall {100 * result['stall']:.1f} %\n"
        f"curves: {out / 'curves.png'}  summary: {out / 'summary.json'}  weights: {out / 'best.pt'}"
    )
    return 0


def _run_to_resume(request: Request) -> Path:
    if request.resume != "latest":
        path = Path(request.resume or "")
        return path.parent if path.suffix == ".pt" else path
    if request.out:
        return Path(request.out)
    return latest_checkpoint(request.runs(), "last.pt").parent


def _resumed_config(request: Request, state: dict[str, Any]) -> Config:
    """The configuration of the run, with the flags that a resumed run may change.

    Raises:
        InputError: if another flag differs.
    """
    values = saved_values(state)
    if request.recipe and request.recipe != state["recipe"]:
        raise InputError(f"--recipe {request.recipe}: the run was started with recipe {state['recipe']}")
    for name, value in given_values(request).items():
        if name not in FREE_ON_RESUME and value != values[name]:
            raise InputError(
                f"--{name.replace('_', '-')} {value}: the run was started with {values[name]}; a resumed run keeps its "
                "settings, start a new one to change them"
            )
        values[name] = value
    return Config.build(state["recipe"], values)
