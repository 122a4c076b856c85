"""The signals that ask a process to end, in one list for whoever handles them and whoever holds them back."""

from __future__ import annotations

import signal

# SIGHUP, which Windows has not, comes when the terminal is closed; `nohup` has it ignored.
TERMINATION_SIGNALS: tuple[signal.Signals, ...] = tuple(
    signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
