"""--mode peek: a batch as the network gets it, of the settings or of any step of a run."""

from pathlib import Path

from feedline.cli.build import shown
from feedline.cli.fitting import fitted
from feedline.cli.locate import run_data
from feedline.cli.request import Request
from feedline.cli.runs import latest_checkpoint, named_checkpoint
from feedline.cli.seen import IMAGES, pixel_loader, seen
from feedline.console import aloud
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.errors import InputError
from feedline.report.page import Page, Section
from feedline.report.peek import picture_of
from feedline.report.sheet import save_sheet
from feedline.training import checkpoint
from feedline.training.config import Config


def run(request: Request) -> int:
    """Writes peek.png and peek.html: the first images of a batch, each beside its original."""
    config, dataset = _settings(request)
    loader = pixel_loader(config, dataset)
    steps, total = len(loader), len(loader) * config.optim.epochs
    step = 1 if request.step is None else request.step
    if not 1 <= step <= total:
        raise InputError(f"`step={step}`: the run has the steps 1 to {total:,}, {steps:,} an epoch")
    out = request.folder()
    epoch, position = divmod(step - 1, steps)
    pictures = list(map(picture_of, seen(loader, epoch, position, IMAGES)))
    title = f"{dataset.name} {loader.split}, step {step:,} (epoch {epoch + 1}, step {position + 1} of {steps:,})"
    note = f"{shown(loader.output(epoch))}, augment {','.join(config.loader.augment) or 'none'}, seed {config.run.seed}"
    out.mkdir(parents=True, exist_ok=True)
    save_sheet(out / "peek.png", pictures, f"{title}: {note}")
    text = "Left the original with its window, right what the network gets, before normalising."
    if config.mix.mixup or config.mix.cutmix:
        note += "; pairs of these are mixed in the step, which is not shown"
    images = Section("Images", text, pictures=pictures, pairs=True)
    page = Page(title, note, sections=[images])
    page.write(out / "peek.html")
    with aloud():
        print(f"{title}\n{note}\npicture: {out / 'peek.png'}  page: {out / 'peek.html'}")
    return 0


def _settings(request: Request) -> tuple[Config, Dataset]:
    """Those of the run that is named, or of the recipe and flags."""
    if request.resume is None:
        config, dataset = request.opened()
        return fitted(request, config, dataset), dataset
    for name in (*(["recipe"] if request.recipe else []), *request.flags):
        if name != "data":
            raise InputError(f"`{name}`: has no effect beside `resume`: the run has its settings")
    if request.resumes_latest:
        path = latest_checkpoint(request.searched(), checkpoint.LAST)
    else:
        path = named_checkpoint("resume", Path(request.resume), checkpoint.LAST)
    snapshot = checkpoint.load(path)
    config = snapshot.config.replace(data=str(request.flags.get("data") or run_data(snapshot, path)))
    dataset = Dataset(config.run.data)
    snapshot.check_dataset(dataset, path)
    return config, dataset
