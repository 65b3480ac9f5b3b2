"""python train.py: finds a learning rate, trains, evaluates, measures."""

import os
import signal
import sys

if __name__ == "__main__":  # importing takes seconds
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):
            signal.signal(number, lambda n, _: (os.write(2, b"train.py: interrupted\n"), os._exit(128 + n)))

from feedline.imports import without_collecting

with without_collecting():
    from feedline.cli.main import main
    from feedline.training.stopping import until_exit

__all__ = ["main"]

if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(until_exit(main, "train.py"))
