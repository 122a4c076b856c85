"""The log of `charrnn train --log`: one event a line, as JSON."""

from __future__ import annotations

import json
from types import TracebackType

from charrnn.errors import CharrnnError
from charrnn.training.events import Event


class TrainingLog:
    """Writes each event to `path` as it happens; without a path does nothing. Used in a `with` block.

    Raises CharrnnError when the file cannot be written.
    """

    def __init__(self, path: str | None, *, append: bool) -> None:
        self._path = path
        self._file = None
        if path is not None:
            try:
                self._file = open(path, "a" if append else "w", encoding="utf-8", newline="\n")  # noqa: PTH123, SIM115
            except OSError as error:
                raise self._failure(error) from error

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is None:
            return
        try:
            self._file.close()  # fails once more where the last line could not be written
        except OSError as failure:
            if error is None:
                raise self._failure(failure) from failure

    def write(self, event: Event) -> None:
        """Add one line, at once visible to a reader of the file."""
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(event.to_json(), ensure_ascii=False, allow_nan=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> CharrnnError:
        return CharrnnError(f"cannot write the log {self._path}: {error.strerror or error}; give another --log FILE")
