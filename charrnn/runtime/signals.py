"""The signals that ask a process to end: one list for the code that handles them and the code that defers them."""

from __future__ import annotations

import signal

# SIGHUP is sent when the terminal is closed; Windows does not have it, and `nohup` makes a process ignore it.
TERMINATION_SIGNALS: tuple[signal.Signals, ...] = tuple(
    signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
