"""python train.py: finds a learning rate, trains, evaluates, measures. Parses and wires; the work is in training/."""

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence

from feedline.pipeline.errors import InputError
from feedline.training import config as configuration
from feedline.training.modes import MODES, Request
from feedline.training.ranks import SaidByFirst, joined, program


def parser() -> argparse.ArgumentParser:
    """The command line: what is done, then a flag for every key of a recipe."""
    p = argparse.ArgumentParser(
        prog="python train.py",
        description="Train an image classifier on a dataset that convert/build.py wrote. Values in brackets are "
        "recipes/default.toml's; another --recipe may have others, and a flag beats any recipe.",
    )
    p.add_argument("--mode", choices=list(MODES), required=True, help="what to do")
    p.add_argument("--recipe", help="name of a file in recipes/, or a .toml file (default: default)")
    p.add_argument("--out", help="folder for the results (default: runs/<mode>-<time>)")
    p.add_argument(
        "--resume", nargs="?", const="latest", metavar="RUN", help="train: go on with a run (default: the latest one)"
    )
    p.add_argument(
        "--checkpoint", metavar="FILE", help="eval: the checkpoint (default: best.pt of the latest run on this dataset)"
    )
    p.add_argument("--start-lr", type=float, help="lrfind: where to start (default: a hundred-thousandth of the end)")
    p.add_argument("--end-lr", type=float, help="lrfind: where to end (default: 10 for sgd, 0.1 for adam and adamw)")
    p.add_argument("--rounds", type=int, default=5, help="bench: rounds of each measurement (default: 5)")
    p.add_argument("--seconds", type=float, default=2.0, help="bench: the least length of a round (default: 2)")
    configuration.add_flags(p)
    return p


def main(argv: Sequence[str] | None = None) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    argv = sys.argv[1:] if argv is None else list(argv)
    args = vars(parser().parse_args(argv))
    mode = args.pop("mode")
    own = ("recipe", "out", "resume", "checkpoint", "start_lr", "end_lr", "rounds", "seconds")
    options = {name: args.pop(name) for name in own}
    command = shlex.join(["python", "train.py", *argv])
    try:
        with joined() as ranks:
            return MODES[mode](Request(mode=mode, flags=args, command=command, ranks=ranks, **options))
    except SaidByFirst:
        return 2
    except InputError as error:
        print(f"{program('train.py')}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{program('train.py')}: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
