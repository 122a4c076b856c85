"""The command `charrnn`, also as `python -m charrnn`."""

import signal
import sys


def main() -> int:
    """Run the command line; the exit status. Ctrl-C during the imports ends the process without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    from charrnn.cli.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
