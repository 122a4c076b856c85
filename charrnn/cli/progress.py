"""Draws training events on standard error: a live display on a terminal, otherwise a plain line now and then."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from charrnn.cli import streams
from charrnn.cli.curve import Series, curve
from charrnn.cli.visible import visible
from charrnn.settings import counted
from charrnn.training import events

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

LINE_SECONDS = 30.0
SAMPLE_LINES = 8
BAR_WIDTH = 60
CURVE_HEIGHT = 3  # lines
MOST_POINTS = 400  # of the curve that are kept


def duration_text(seconds: float) -> str:
    """A time in seconds as text: `45s`, `3m 05s`, `2h 10m`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def start_lines(start: events.Start) -> Iterator[str]:
    """The lines at the start of training: sizes, and the options in use."""
    training = start.training
    for name, line in start.lines:
        yield f"{name:9} {line}"
    batch = f"batch of {start.batch_size} {start.examples}"
    if not start.examples:
        batch = f"batch {start.batch_size} x {start.seq_length}"
    yield (
        f"training  {training['optimizer']}, learning rate {training['learning_rate']:g}, {training['schedule']}, "
        f"{batch}, dropout {training['dropout']:g}, "
        f"weight decay {training['weight_decay']:g}, clip norm {training['clip_norm']:g}, seed {training['seed']}"
    )
    yield (
        f"length    {counted(start.total_steps, 'step')} ({epochs_text(start.total_steps / start.steps_per_epoch)}), "
        f"validation every {training['eval_every']:,}"
        + (f", patience {training['patience']}" if training["patience"] else "")
        + (f", from step {start.step:,} on" if start.step else "")
    )


def epochs_text(number: float) -> str:
    """A number of epochs as text: `1 epoch`, `2.5 epochs`."""
    text = f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
    return f"{text} epoch{'s' * (text != '1')}"


def reason_text(stopped_by: str) -> str:
    """Why a run ended, `End.stopped_by`, in words."""
    reasons = {"patience": "no improvement", "steps": "all steps done", "epochs": "all epochs done"}
    return reasons.get(stopped_by, "time is up")


def end_lines(end: events.End) -> Iterator[str]:
    """The lines at the end of training: the result."""
    yield (
        f"done      {reason_text(end.stopped_by)}: {counted(end.steps, 'step')}, {epochs_text(end.epochs)}, "
        f"{duration_text(end.seconds)}, {end.tokens_per_second:,.0f} tokens per second"
    )
    if end.val_loss is not None:
        yield (
            f"result    validation loss {end.val_loss:.4f}, "
            + (f"{figures}, " if (figures := figures_text(end.val_figures)) else "")
            + f"best at step {end.best_step:,}"
        )
    yield f"written   {end.checkpoint}"


def figures_text(figures: Mapping[str, float | None]) -> str:
    """The metrics of a validation, those that there are; of bits only those per byte."""
    known = {name: value for name, value in figures.items() if value is not None}
    if "bits_per_byte" in known:
        with_memory = known.get("memory_bits_per_byte")
        more = "" if with_memory is None else f", {with_memory:.3f} with the memory"
        return f"{known['bits_per_byte']:.3f} bits per byte{more}"
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in known.items())


class Display:
    """Plain lines: the options, progress at most every `LINE_SECONDS`, the result. Used in a `with` block."""

    def __init__(self) -> None:
        self.start: events.Start | None = None
        self.step: events.Step | None = None
        self.validation: events.Validation | None = None
        self.best: events.Validation | None = None
        self.text: events.Sampled | None = None
        self.advice: list[str] = []  # shown after the result
        self._drawn = 0.0

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def show(self, event: events.Event) -> None:
        """Record an event and draw what it changes."""
        match event:
            case events.Start():
                self.start, self._drawn = event, event.seconds
                for line in start_lines(event):
                    self.say(line)
            case events.Step():
                self.step = event
            case events.Validation():
                self.validation = event
                self.best = event if event.best else self.best
            case events.Sampled():
                self.text = event
            case events.Note():
                self.say(event.message)
            case events.Advice():
                if self.step is None:
                    self.say(event.message)
                else:
                    self.advice.append(event.message)
            case events.Diverged():
                self.warn(f"not finite at step {event.step}: back to step {event.back_to} with half the learning rate")
            case events.End():
                self.close()
                for line in (*end_lines(event), *self.advice):
                    self.say(line)
        self.draw(event)

    def say(self, line: str) -> None:
        """One line that stays."""
        streams.note(line)

    def warn(self, line: str) -> None:
        """One warning that stays."""
        streams.warn(line)

    def draw(self, event: events.Event) -> None:
        """Draw the progress."""
        if isinstance(event, events.Sampled):
            for line in self.sample_lines():
                self.say(f"  | {line}")
        elif isinstance(event, events.Step | events.Validation) and event.seconds - self._drawn >= LINE_SECONDS:
            self._drawn = event.seconds
            self.say(", ".join(self.facts(event.seconds)))

    def close(self) -> None:
        """End the display."""

    # Facts to show

    def facts(self, seconds: float) -> Iterator[str]:
        """Progress in short phrases: step, epoch, losses, speed, time left."""
        if self.step is not None:
            step = self.step
            yield f"step {step.step:,} of {step.total_steps:,}"
            yield f"epoch {step.epoch:.2f}"
            bits = self.bits_per_byte(step.loss)
            yield f"loss {step.loss:.3f}" + ("" if bits is None else f" ({bits:.3f} bits per byte)")
        if self.validation is not None:
            bits = self.validation.figures.get("bits_per_byte")
            yield f"validation {self.validation.loss:.4f}" + ("" if bits is None else f" ({bits:.3f})")
        if self.step is not None:
            yield f"{self.step.tokens_per_second:,.0f} tokens per second"
        if (left := self.time_left(seconds)) is not None:
            yield f"{duration_text(left)} left"

    def bits_per_byte(self, loss: float) -> float | None:
        """A loss in nats per token as bits per byte of the training text, the spelling of unknown units counted; None
        where it is no text."""
        assert self.start is not None
        sizes = self.start.corpus.get("training", {})
        if "spelling" not in sizes:
            return None
        return float(loss * sizes["tokens"] - sizes["spelling"]) / math.log(2) / float(sizes["bytes"])

    def time_left(self, seconds: float) -> float | None:
        """Seconds until the last planned step, at the speed so far; None before the first step."""
        if self.start is None or self.step is None or self.step.step <= self.start.step:
            return None
        each = (self.step.seconds - self.start.seconds) / (self.step.step - self.start.step)
        return each * (self.step.total_steps - self.step.step) - (seconds - self.step.seconds)

    def sample_lines(self) -> list[str]:
        """The latest sample without control characters."""
        if self.text is None:
            return []
        return [visible(line) for line in self.text.text.split("\n")][:SAMPLE_LINES]


class LiveDisplay(Display):
    """The same facts in place, redrawn as they change, and a small curve of the training loss."""

    def __init__(self) -> None:
        super().__init__()
        self._losses = Series(MOST_POINTS)
        self._console: Console = streams.stderr_console()
        self._live: Live | None = None

    def __enter__(self) -> Display:
        from rich.live import Live

        self._live = Live(console=self._console, refresh_per_second=4, redirect_stdout=False, redirect_stderr=False)
        self._live.start()
        return self

    def close(self) -> None:
        """Stop redrawing; the last state stays on the terminal."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def say(self, line: str) -> None:
        """One line above the display."""
        if self._live is None:
            super().say(line)
        else:
            self._console.print(streams.printable(streams.with_option_names(line)))

    def warn(self, line: str) -> None:
        """One warning above the display."""
        self.say(f"charrnn: warning: {line}")

    def draw(self, event: events.Event) -> None:
        """Redraw the display."""
        if isinstance(event, events.Step):
            self._losses.add(event.step, event.loss)
        if self._live is not None and self.step is not None:
            self._live.update(self._picture(event.seconds))

    def _picture(self, seconds: float) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        assert self.step is not None
        done = min(BAR_WIDTH, BAR_WIDTH * self.step.step // self.step.total_steps)
        lines: list[RenderableType] = [Text.assemble(("━" * done, "green"), ("━" * (BAR_WIDTH - done), "dim"))]
        lines.append(Text(", ".join(self.facts(seconds)), style="bold", no_wrap=False, overflow="fold"))
        drawn = curve(self._losses.points, min(self._console.width, BAR_WIDTH), CURVE_HEIGHT)
        lines += [Text(line, style="green", no_wrap=True, overflow="crop") for line in drawn]
        if self.best is not None:
            lines.append(Text(f"best weights at step {self.best.step:,}, validation loss {self.best.loss:.4f}"))
        lines += [Text(f"  | {line}", style="dim", no_wrap=True, overflow="crop") for line in self.sample_lines()]
        return Group(*lines)


def make_display() -> Display:
    """A live display where standard error is a terminal that can show one, else plain lines."""
    return LiveDisplay() if streams.wants_live_display() else Display()
