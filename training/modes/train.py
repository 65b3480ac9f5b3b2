"""--mode train: a new run, or an old one gone on with."""

import shlex
from pathlib import Path
from typing import Any

from feedline.pipeline.dataset import Dataset
from feedline.pipeline.errors import InputError
from feedline.training import checkpoint
from feedline.training.config import Config
from feedline.training.loop import Trainer
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
from feedline.training.modes.lrfind import resolve_max_lr
from feedline.training.ranks import may_restart, restarted
from feedline.training.stopping import Interrupted, stop_on_signal

# What may change when a run goes on: none of it touches the result.
FREE_ON_RESUME = {"data", "store", "engine", "decode", "threads", "device", "log_every", "save_every", "target"}


def run(request: Request) -> int:
    """Trains, or goes on with a run."""
    ranks = request.ranks
    out, state, config = ranks.share(lambda: _begin(request))
    dataset = Dataset(config.data.data)
    if state is not None:
        check_dataset(state, dataset, out)
    device = choose_device(config.run.device, ranks)
    with memory_errors(config, ranks):
        train = make_loader(config, dataset, "train", device, ranks)
        val = make_loader(config, dataset, "val", device, ranks)
        say_feed(train, config)
        trainer = Trainer(config, make_model(config, dataset), train, val, out, state, ranks)
        if state is not None:
            at = trainer.at
            if ranks.first and (named := _named_checkpoint(request)) and named.name != checkpoint.LAST:
                checkpoint.put_back(named)
            print(f"going on with {out} at epoch {at.epoch + 1}, step {at.step} of {len(train)}", flush=True)
        try:
            with stop_on_signal(trainer.stopping, patient=ranks.several):
                result = trainer.fit()
        except Interrupted:
            print(f"stopped and saved; go on with:\n  python train.py --mode train --resume {shlex.quote(str(out))}")
            return 128 + trainer.stopping.signum
    best, reached = result["best"], result["target_reached"]
    if result["target"] is not None:
        when = f"after {reached['seconds']:,.0f} s, epoch {reached['epoch']}" if reached else "not"
        print(f"target of {result['target']} % top-1: {when} reached")
    print(
        f"best val top-1 {best['val_top1']:.2f} % (top-5 {best['val_top5']:.2f} %) at epoch {best['epoch']}; "
        f"{result['images_per_s']:,.0f} images/s, stall {100 * result['stall']:.1f} %\n"
        f"curves: {out / 'curves.png'}  summary: {out / 'summary.json'}  weights: {out / 'best.pt'}"
    )
    return 0


def _begin(request: Request) -> tuple[Path, dict[str, Any] | None, Config]:
    """The run's folder, its checkpoint if it is gone on with, and its configuration. Rank 0 does this for all."""
    if may_restart() and not request.out and not request.resume:
        raise InputError("torchrun --max-restarts: name the run with --out, so that a restart finds its checkpoint")
    again = restarted() and not request.resume and (Path(request.out or "") / checkpoint.LAST).exists()
    if request.resume or again:
        out = Path(request.out or "") if again else _run_to_resume(request)
        named = _named_checkpoint(request)
        state = checkpoint.load(named) if named else checkpoint.load_last(out)
        config = _resumed_config(request, state)
        done = state["position"]["epoch"] >= config.optim.epochs and (out / "summary.json").exists()
        if done and not again:
            raise InputError(f"--resume {out}: this run is complete; evaluate it with --mode eval, or start a new one")
        return out, state, config
    out, config = request.folder(), request.config()
    if (out / checkpoint.LAST).exists():
        raise InputError(f"--out {out}: holds a run already; go on with --resume {out}, or choose another --out")
    return out, None, resolve_max_lr(config, Dataset(config.data.data), request.runs())


def _named_checkpoint(request: Request) -> Path | None:
    """The file that `--resume` names, if it names one; a restart goes on from the run's last."""
    path = Path(request.resume or "")
    return path if path.suffix == ".pt" and not restarted() else None


def _run_to_resume(request: Request) -> Path:
    """The folder of the run that `--resume` means."""
    if request.resume != "latest":
        path = Path(request.resume or "")
        return path.parent if path.suffix == ".pt" else path
    if request.out:
        return Path(request.out)
    return latest_checkpoint(request.runs(), checkpoint.LAST).parent


def _resumed_config(request: Request, state: dict[str, Any]) -> Config:
    """The configuration of the run, with the flags that a resumed run may change.

    Raises:
        InputError: if another flag differs.
    """
    values = saved_config(state).flat()
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
