"""How a training run starts: new, or resumed from a checkpoint."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from feedline.cli.build import choose_device, make_loader, training_side, with_stem
from feedline.cli.fitting import fitted
from feedline.cli.locate import run_data
from feedline.cli.recipes import configure
from feedline.cli.reports import REPORT
from feedline.cli.request import Request
from feedline.cli.runs import latest_checkpoint, named_checkpoint, tested_max_lr
from feedline.cli.same_command import resumed_config
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.errors import InputError
from feedline.program import command_line
from feedline.training import checkpoint
from feedline.training.asked import Asked
from feedline.training.config import Config
from feedline.training.ending import ended, in_words
from feedline.training.ranks import may_restart, restarted
from feedline.training.snapshot import Snapshot


@dataclass(frozen=True)
class Start:
    """How a run starts.

    Attributes:
        out: the run folder.
        config: of the run.
        asked: what the command of the run asked for.
        snapshot: the checkpoint to resume from; None for a new run.
        earlier: the file of that checkpoint, if it is not the run's last one.
        notes: what to say before it starts.
        lr_test: the LR range test that the learning rate is from, if it is from one.
    """

    out: Path
    config: Config
    asked: Asked
    snapshot: Snapshot | None = None
    earlier: Path | None = None
    notes: tuple[str, ...] = ()
    lr_test: Path | None = None


def choose_start(request: Request) -> Start:
    """Decides between a new run and a resumed one, and claims its folder. Only rank 0 may call it.

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


def resume_command(run: Path) -> str:
    """The command that resumes a run, named by its folder or a checkpoint."""
    return f"{command_line('train')} --mode train --resume {shlex.quote(str(run))}"


def _new(request: Request) -> Start:
    config, dataset = request.opened()
    out = request.folder()
    if not restarted() and (held := [n for n in (*checkpoint.NAMES, "summary.json") if (out / n).exists()]):
        raise _taken(out, held)
    recipe = request.recipe or "default"
    asked = Asked(configure(recipe, request.flags, dataset), configure(recipe, {}, dataset))
    config, test = fitted(request, config, dataset), None
    if config.optim.max_lr == "auto":
        lr, test = tested_max_lr(_with_stem(config, request, dataset), dataset, request.searched())
        config = config.replace(max_lr=lr)
    return Start(out, config, asked, lr_test=test)


def _with_stem(config: Config, request: Request, dataset: Dataset) -> Config:
    """The configuration with the stem that its training has."""
    loader = make_loader(config, dataset, "train", choose_device(config.run.device, request.ranks), request.ranks)
    return with_stem(config, request, training_side(config, loader.output(0)))


def _taken(out: Path, held: Sequence[str]) -> InputError:
    if (out / "summary.json").exists():
        return InputError(f"`out={out}`: holds a complete run; choose another `out`")
    if held == [checkpoint.BEST]:
        return InputError(f"`out={out}`: holds the {checkpoint.BEST} of another run; choose another `out`")
    run = out if checkpoint.LAST in held else out / checkpoint.PREVIOUS
    return InputError(
        f"`out={out}`: holds a run already, which was stopped; resume it with: {resume_command(run)} (or choose "
        "another `out`)"
    )


def _resumed(request: Request, out: Path, named: Path | None) -> Start:
    """Resumes from the checkpoint that the user named, or from the run's last one."""
    path = named_checkpoint("resume", named or out, checkpoint.LAST)  # nothing is claimed where there is no run
    request.claims.take(out, "resume")
    snapshot = checkpoint.load(path) if named else checkpoint.load_last(out)
    if not snapshot.resumable:
        raise InputError(
            f"`resume={path}`: holds the weights of epoch {snapshot.position.epoch} only, for use; resume the run with "
            f"`resume={shlex.quote(str(out))}`, or start a new run from them with `init={shlex.quote(str(path))}`"
        )
    data = request.flags.get("data") or run_data(snapshot, path)
    asked, config, notes = resumed_config(request, snapshot, Dataset(data))
    config = config.replace(data=data)
    finished = (out / "summary.json").exists() and (out / REPORT).exists()  # else it is reported on once more
    if finished and request.resume and not restarted():
        _check_not_ended(config, snapshot, out)
    earlier = named if named and named.name != checkpoint.LAST else None
    return Start(out, config, asked, snapshot, earlier, notes)


def _check_not_ended(config: Config, snapshot: Snapshot, out: Path) -> None:
    """Raises InputError if a run is at its end, with what can be done."""
    why = ended(config, snapshot.position)
    if why == "patience":
        raise InputError(
            f"`resume={out}`: this run ended {in_words(config, snapshot.position)}; resume it with a larger "
            "`patience`, or 0 for all its epochs, or evaluate it with --mode eval"
        )
    if why is not None:
        raise InputError(
            f"`resume={out}`: this run is complete; evaluate it with --mode eval, or train on from its weights: a new "
            f"run with `init={shlex.quote(str(out / checkpoint.BEST))}`"
        )


def _run_to_resume(request: Request) -> Path:
    """The folder of the run that `--resume` names.

    Raises:
        InputError: if `--out` names another folder, or there is no run.
    """
    if request.resumes_latest:
        return Path(request.out) if request.out else latest_checkpoint(request.searched(), checkpoint.LAST).parent
    path = Path(request.resume or "")
    if path.is_file() and path.suffix != ".pt":
        raise InputError(f"`resume={path}`: is no checkpoint; name the folder of a run, or a .pt file in it")
    out = path.parent if path.suffix == ".pt" else path
    if request.out and Path(request.out).resolve() != out.resolve():
        raise InputError(f"`out={request.out}`: a resumed run goes on in its own folder, {out}; leave `out` out")
    return out
