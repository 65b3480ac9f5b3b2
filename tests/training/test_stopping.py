import os
import signal

import pytest

from feedline.training.stopping import Stopping, interrupt_on_signal, stop_on_signal


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_asks_to_stop_and_is_known(signum: signal.Signals) -> None:
    before, stopping = signal.getsignal(signum), Stopping()
    with stop_on_signal(stopping):
        assert not stopping.is_set()
        signal.raise_signal(signum)
        assert stopping.is_set()
        assert stopping.signum == signum
    assert signal.getsignal(signum) is before


def test_a_hangup_that_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stopping = Stopping()
        with interrupt_on_signal(), stop_on_signal(stopping):
            os.kill(os.getpid(), signal.SIGHUP)
        assert not stopping.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_elsewhere_a_signal_interrupts_as_ctrl_c_does(signum: signal.Signals) -> None:
    with interrupt_on_signal(), pytest.raises(KeyboardInterrupt) as caught:
        signal.raise_signal(signum)
    assert caught.value.args == (signum,)
