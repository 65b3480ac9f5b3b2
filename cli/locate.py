"""Which checkpoint to evaluate, and the dataset of a run: where its checkpoint says it is."""

from pathlib import Path

from feedline.cli.request import Request
from feedline.cli.runs import named_checkpoint, newest_of, no_such_run
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.errors import InputError
from feedline.training import checkpoint
from feedline.training.snapshot import Snapshot
from feedline.use.loading import places_of


def run_data(snapshot: Snapshot, path: Path) -> str:
    """The dataset folder of a run: as its command named it, or where it was for the run if that is elsewhere from here.

    Args:
        snapshot: of a checkpoint of the run.
        path: of the checkpoint, for the message.

    Raises:
        InputError: if the dataset is no longer where it was.
    """
    named, kept = snapshot.config.run.data, snapshot.dataset.get("path")
    if kept is None:
        return named
    if places := places_of(snapshot):
        return named if Path(places[0]).resolve() == Path(named).resolve() else places[0]
    name = snapshot.dataset.get("name")
    raise InputError(f"{path}: its dataset {name} was at {kept}, where there is none now; name it with `data`")


def find_checkpoint(request: Request) -> tuple[Path, Snapshot]:
    """The checkpoint that the command names (a run's best one, if it names a run), or the newest that fits its dataset.

    Prints which newer ones were skipped.

    Raises:
        InputError: if there is none, or it cannot be read.
    """
    if request.checkpoint is not None:
        path = named_checkpoint("checkpoint", Path(request.checkpoint), checkpoint.BEST)
        return path, checkpoint.load(path)
    data = request.flags.get("data")
    fingerprint = None if data is None else Dataset(data).fingerprint
    found, skipped = newest_of(request.searched(), checkpoint.BEST, fingerprint)
    if found is None:
        raise no_such_run(request.searched(), checkpoint.BEST, skipped)
    for reason in skipped:
        print(f"skipped {reason}")
    return found
