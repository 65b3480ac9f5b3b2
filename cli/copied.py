"""The commands that a finished run prints, to be copied."""

import shlex
from pathlib import Path

from feedline.pipeline.loader import Loader
from feedline.program import command_line
from feedline.training import checkpoint


def commands_after(out: Path, data: str, val: Loader) -> str:
    """What to do with the network of a run: evaluate it, and classify an image, here the first one of val.

    Args:
        out: the run's folder.
        data: its dataset's.
        val: the loader of what it evaluated.
    """
    start, best = f"{command_line('train')} --mode", shlex.quote(str(out / checkpoint.BEST))
    image = shlex.quote(str(Path(data) / val.folder.path(int(val.plan.ids[0]))))
    return (
        f"evaluate it with:\n  {start} eval --checkpoint {best}\n"
        f"classify images with:\n  {start} predict --checkpoint {best} {image}"
    )
