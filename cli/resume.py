"""How a training run starts: new, or resumed from a checkpoint."""

from dataclasses import dataclass
from pathlib import Path

from feedline.cli.flags import given_values
from feedline.cli.request import Request
from feedline.cli.runs import latest_checkpoint, resolve_max_lr
from feedline.pipeline.errors import InputError
from feedline.training import checkpoint
from feedline.training.config import Config
from feedline.training.ranks import may_restart, restarted
from feedline.training.snapshot import Snapshot

# What may change when a run is resumed: none of it changes the result.
FREE_ON_RESUME = {
    "data",
    "store",
    "engine",
    "decode",
    "threads",
    "torch_threads",
    "device",
    "log_every",
    "certify",
    "save_every",
    "target",
}

AUTO = ("split", "stem")  # a run keeps what they came to


@dataclass(frozen=True)
class Start:
    """How a run starts.

    Attributes:
        out: the run folder.
        config: of the run.
        snapshot: the checkpoint to resume from; None for a new run.
        earlier: the file of that checkpoint, if it is not the run's last one.
    """

    out: Path
    config: Config
    snapshot: Snapshot | None = None
    earlier: Path | None = None


def choose_start(request: Request) -> Start:
    """Decides between a new run and a resumed one. Only rank 0 may call it.

    Raises:
        InputError: if the run cannot start like this.
    """
    if may_restart() and not request.out and not request.resume:
        raise InputError("torchrun --max-restarts: name the run with `out`, so that a restart finds its checkpoint")
    if restarted():
        out = _run_to_resume(request) if request.resume else Path(request.out or "")
        if request.resume or (out / checkpoint.LAST).exists():
            return _resumed(request, out, None)
    elif request.resume:
        out, path = _run_to_resume(request), Path(request.resume)
        return _resumed(request, out, path if path.suffix == ".pt" else None)
    return _new(request)


def _new(request: Request) -> Start:
    out = request.folder()
    if (out / checkpoint.LAST).exists():
        raise InputError(f"`out={out}`: holds a run already; resume it with `resume={out}`, or choose another `out`")
    config, dataset = request.opened()
    return Start(out, resolve_max_lr(config, dataset, request.runs()))


def _resumed(request: Request, out: Path, named: Path | None) -> Start:
    """Resumes from the checkpoint that the user named, or from the run's last one."""
    snapshot = checkpoint.load(named) if named else checkpoint.load_last(out)
    config = _resumed_config(request, snapshot)
    done = snapshot.position.epoch >= config.optim.epochs and (out / "summary.json").exists()
    if done and request.resume:
        raise InputError(f"`resume={out}`: this run is complete; evaluate it with --mode eval, or start a new one")
    return Start(out, config, snapshot, named if named and named.name != checkpoint.LAST else None)


def _run_to_resume(request: Request) -> Path:
    """The folder of the run that `--resume` names."""
    if request.resume != "latest":
        path = Path(request.resume or "")
        return path.parent if path.suffix == ".pt" else path
    if request.out:
        return Path(request.out)
    return latest_checkpoint(request.runs(), checkpoint.LAST).parent


def _resumed_config(request: Request, snapshot: Snapshot) -> Config:
    """The configuration of the run, with the flags that may change.

    Raises:
        InputError: if another flag differs.
    """
    saved = snapshot.config
    if request.recipe and request.recipe != saved.recipe:
        raise InputError(f"`recipe={request.recipe}`: the run was started with recipe {saved.recipe}")
    before, given = saved.flat(), given_values(request.flags)
    config = saved.replace(**{name: value for name, value in given.items() if name not in AUTO or value != "auto"})
    free = FREE_ON_RESUME | ({"epochs", "cooldown"} if _peak_goes_on(snapshot, config) else set())
    for name, value in config.flat().items():
        if name not in free and value != before[name]:
            raise InputError(
                f"`{name}={_text(value)}`: the run was started with {_text(before[name])}; a resumed run keeps its "
                "settings, start a new one to change them"
            )
    return config


def _peak_goes_on(snapshot: Snapshot, config: Config) -> bool:
    """Whether the run is at the peak of a trapezoid, as it was planned and as it would be now."""
    whole, started = snapshot.position.epoch, snapshot.position.epoch + (snapshot.position.step > 0)
    return all(
        optim.schedule == "trapezoid"
        and optim.warmup * optim.epochs <= whole
        and started <= optim.epochs * (1 - optim.cooldown)
        for optim in (snapshot.config.optim, config.optim)
    )


def _text(value: object) -> str:
    return (",".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)
