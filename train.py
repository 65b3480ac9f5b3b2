"""python train.py: finds a learning rate, trains, evaluates, measures."""

import sys

from feedline.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
