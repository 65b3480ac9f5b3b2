"""python train.py: finds a learning rate, trains, evaluates, measures."""

import os
import signal
import sys

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # importing takes seconds
    signal.signal(signal.SIGINT, lambda *_: (os.write(2, b"train.py: interrupted\n"), os._exit(130)))

from feedline.imports import without_collecting

with without_collecting():
    from feedline.cli.main import main
    from feedline.training.stopping import until_exit

__all__ = ["main"]

if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(until_exit(main, "train.py"))
