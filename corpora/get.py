#!/usr/bin/env python3
"""Fetch a larger text to train on.

python3 corpora/get.py python-docs    # the Python language reference inside your own Python, half a megabyte
python3 corpora/get.py shakespeare    # tinyshakespeare, 1.1 MB, from its public GitHub home
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHAKESPEARE_URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
SHAKESPEARE_BYTES = 1_115_394
SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
TIMEOUT = 30.0  # seconds without an answer


class FetchError(Exception):
    """A text could not be had; the message is one line that says what to do."""


def python_docs() -> bytes:
    """The topics of `help()` of the running Python, in alphabetical order, each once, separated by an empty line.

    Raises FetchError where this Python was installed without them.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise FetchError(
            f"{sys.executable} was installed without its language reference (pydoc_data); run this with another Python"
        ) from None
    # Some topics are there under two names.
    texts = dict.fromkeys(topics[name].strip("\n") for name in sorted(topics))
    lines = (line.rstrip() for line in "\n\n".join(texts).split("\n"))
    return ("\n".join(lines) + "\n").encode("utf-8")


def shakespeare(target: Path) -> bytes:
    """tinyshakespeare, downloaded and checked.

    Raises FetchError, which names `target`, when there is no network or what came is another file.
    """
    by_hand = f"fetch {SHAKESPEARE_URL} by hand and save it as {target}"
    try:
        with urllib.request.urlopen(SHAKESPEARE_URL, timeout=TIMEOUT) as response:
            data: bytes = response.read(2 * SHAKESPEARE_BYTES)
    except urllib.error.URLError as error:
        raise FetchError(f"no download ({error.reason}); {by_hand}") from None
    except (OSError, http.client.HTTPException) as error:
        raise FetchError(f"the download broke off ({error or type(error).__name__}); try again, or {by_hand}") from None
    if len(data) != SHAKESPEARE_BYTES:
        raise FetchError(f"{len(data)} bytes came, {SHAKESPEARE_BYTES} were expected; {by_hand}")
    if hashlib.sha256(data).hexdigest() != SHAKESPEARE_SHA256:
        raise FetchError(f"what came has another SHA-256 than {SHAKESPEARE_SHA256}; {by_hand}")
    return data


def write(target: Path, data: bytes) -> None:
    """Write aside and rename, so that `target` is never half a file. Raises OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f"{target.name}.part")
    try:
        aside.write_bytes(data)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def main(arguments: Iterable[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Fetch a larger text to train on.")
    parser.add_argument("text", choices=("python-docs", "shakespeare"), help="which text")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="where to write (default: corpora/<text>.txt)"
    )
    options = parser.parse_args(None if arguments is None else list(arguments))
    target: Path = options.output or HERE / f"{options.text}.txt"
    try:
        data = python_docs() if options.text == "python-docs" else shakespeare(target)
        write(target, data)
    except FetchError as error:
        print(f"get.py: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"get.py: {target} cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    print(f"{target}: {len(data)} bytes", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
