"""`charrnn sample`: write text like the text a checkpoint was trained on."""

from __future__ import annotations

import math
import os
from contextlib import nullcontext
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, Any

from charrnn.cli import sample_output, streams
from charrnn.cli.by_task import refuse_given
from charrnn.cli.model import open_model, with_memory
from charrnn.cli.options import (
    CheckpointOption,
    NoMemoryOption,
    PrecisionOption,
    QuietOption,
    SeedOption,
    ThreadsOption,
    option,
    resolve_seed,
    resolve_threads,
)
from charrnn.cli.parsers import length as parse_length
from charrnn.cli.parsers import unescape, whole_number
from charrnn.cli.table import flag, given, with_settings
from charrnn.config import DEFAULT_LENGTH, DISTRIBUTION, RUN
from charrnn.errors import UsageError
from charrnn.sampling_config import SamplingConfig
from charrnn.settings import listed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from charrnn.tasks.score_records import Line
    from charrnn.text.vocabulary import Vocabulary

FORMATS = ("text", "jsonl")
NOVEL = 50  # units of a copy that --novelty does not count
_ROWS_A_THREAD = 16
_PIPE_STRIDE = 64  # units drawn between two writes into a pipe


@with_settings(SamplingConfig, groups=("Model", DISTRIBUTION, "Samples", "Prompt", "Output", RUN))
def sample(
    checkpoint: CheckpointOption = None,
    length: Annotated[
        float | None,
        option(
            "-n",
            "--length",
            metavar="N|inf",
            parser=parse_length,
            group="Samples",
            help="New units in a sample, the prompt not counted.",
            default=f"{DEFAULT_LENGTH}; one line for models trained with --lines",
        ),
    ] = None,
    count: Annotated[
        int,
        option(
            "--count", metavar="N", parser=whole_number(1), group="Samples", help="Independent samples of every prompt."
        ),
    ] = 1,
    prompt: Annotated[
        list[str] | None,
        option(
            "-p",
            "--prompt",
            metavar="TEXT",
            group="Prompt",
            help="Text to go on from, or the input of a translator, as it is. Can be repeated; results come in order.",
        ),
    ] = None,
    prompt_file: Annotated[
        str | None,
        option("--prompt-file", metavar="FILE|-", group="Prompt", help="One prompt a line; completions come in order."),
    ] = None,
    stop: Annotated[
        list[str] | None,
        option(
            "--stop",
            metavar="TEXT",
            parser=unescape,
            group="Samples",
            help="End a sample where it writes this, which is not printed. Can be repeated.",
        ),
    ] = None,
    echo: Annotated[bool, option("--echo", group="Output", help="Print the prompt too.")] = False,
    delimiter: Annotated[
        str | None,
        option(
            "--delimiter",
            metavar="TEXT",
            parser=unescape,
            group="Output",
            help="What follows each sample.",
            default="a newline",
        ),
    ] = None,
    format: Annotated[
        str, option("--format", choices=FORMATS, group="Output", help="Plain text, or a JSON object a sample.")
    ] = "text",
    novelty: Annotated[
        bool,
        option(
            "--novelty",
            group="Output",
            help=f"Say on stderr how much lies in copies longer than --max-copy, or than {NOVEL} units.",
        ),
    ] = False,
    no_memory: NoMemoryOption = False,
    seed: SeedOption = None,
    threads: ThreadsOption = None,
    precision: PrecisionOption = "auto",
    quiet: QuietOption = False,
    **settings: Any,
) -> None:
    """Write text like the text a checkpoint was trained on."""
    streams.set_quiet(quiet)
    stops = tuple(streams.encode(text) for text in stop or ())
    if b"" in stops:
        raise UsageError("--stop is empty; it must be at least one character")
    if format == "jsonl" and delimiter is not None:
        raise UsageError("--delimiter is for --format text, and --format is jsonl; leave it out")
    if format == "jsonl" and length == math.inf and not stops:
        raise UsageError("--length is inf and --format is jsonl, whose record would never end; give a number or --stop")
    if prompt and prompt_file is not None:
        raise UsageError("--prompt and --prompt-file are both given; leave one of them out")
    if echo and not prompt and prompt_file is None:
        raise UsageError("--echo prints the prompt, and there is none; give --prompt or --prompt-file, or leave it out")
    if length == math.inf and count > 1:
        raise UsageError(f"--length is inf and {count} samples are wanted; the first would never end: give a number")

    from charrnn.cli.lines import open_lines

    typed = [os.fsencode(text) for text in prompt or [""]]
    with nullcontext() if prompt_file is None else open_lines(prompt_file) as chunks:
        prompts = iter([typed]) if chunks is None else _prompts(chunks)
        if length == math.inf:
            prompts = iter([_only_one(prompts)])
        # The rows of a batch are split between the threads: a few rows are faster on one.
        rows = count * len(typed) // _ROWS_A_THREAD if prompt_file is None else math.inf
        model = open_model(checkpoint, int(min(resolve_threads(threads), max(1, rows))), precision, verb="sample")

        from charrnn.tasks import sampling

        if seed is None:
            seed = resolve_seed(None)
            streams.note(f"seed {seed}")
        of_text = {
            "--length inf": length == math.inf, "--stop": bool(stop), "--echo": echo, "--novelty": novelty,
            "--no-memory": no_memory, "--max-copy": settings.get("max_copy") is not None,
        }  # fmt: skip
        if model.task == "forecast":
            if chunks is None or prompt_file is None:
                raise UsageError("a forecaster goes on from a table of numbers; name it with --prompt-file")
            of_distribution = dict.fromkeys(map(flag, given(settings)), True)
            refuse_given(model.task, {**of_text, "--delimiter": delimiter is not None, **of_distribution})
            from charrnn.cli import sample_numbers

            rows = model.sides.config.horizon if length is None else int(length)
            sample_numbers.write(
                model, chunks, prompt_file, rows=rows, count=count, seed=seed,
                format="jsonl" if format == "jsonl" else "csv",
            )  # fmt: skip
            return
        if model.task == "translate":
            refuse_given(model.task, of_text)
            if prompt_file is None and not prompt:
                from charrnn.text.fields import shown
                from charrnn.text.gathering import SHOWN_LABELS

                known = f"; its labels are {listed([*map(shown, model.labels)], SHOWN_LABELS)}" if model.labels else ""
                raise UsageError(f"a translator draws outputs of an input, a --prompt, and there is none{known}")
            from charrnn.cli import sample_texts

            units = None if length is None else int(length)
            found = sample_texts.write(
                model, prompts, SamplingConfig(length=units, seed=seed, **given(settings)), count=count, format=format,
                delimiter=b"\n" if delimiter is None else streams.encode(delimiter),
            )  # fmt: skip
            _note_nothing(found)
            return
        model = with_memory(model, no_memory=no_memory)
        if novelty and model.memory is None:
            raise UsageError("--novelty needs the corpus, which a model trained with --memory has; leave it out")
        config = model.sampling_config(
            length=length,
            stops=stops,
            seed=seed,
            **given(settings),
        )
        found, copies = False, sample_output.CopyCount(model, config.max_copy or NOVEL)
        with streams.Output() as out:
            stride = 1 if out.terminal and format == "text" else _PIPE_STRIDE
            for some in _warned(prompts, model.vocabulary):
                found = found or bool(some)
                if config.length is not None and not stops:
                    side_by_side = min(len(some) * count, sampling.samples_at_once(model.vocabulary))
                    _require_memory(config.length, side_by_side, as_json=format == "jsonl")
                pieces = model.pieces(some, config, count=count, stride=stride)
                if novelty:
                    pieces = copies.counted(pieces)
                echoed = some if echo else [b""] * len(some)
                if format == "text":
                    end = b"\n" if delimiter is None else streams.encode(delimiter)
                    sample_output.write_text(out, pieces, echoed, end)
                else:
                    sample_output.write_json(out, pieces, some, echoed, seed)
                out.flush()
        if novelty:
            streams.say(copies.summary())
        _note_nothing(found)


def _note_nothing(found: bool) -> None:
    """Say so where there was no prompt."""
    if not found:
        streams.note("the prompt file is empty: there is no prompt to go on from, and nothing was written")


def _require_memory(length: int, samples: int, *, as_json: bool) -> None:
    """Raise `CharrnnError` where buffered samples would not fit into memory, at one byte a unit or more.

    Plain text buffers all but the first sample; a record is buffered whole, as bytes, text and JSON.
    """
    from charrnn.runtime.memory import readable, require_memory

    require_memory(
        length * (samples + 3 if as_json else samples - 1),
        f"--length {readable(length)} of {samples} sample{'s' * (samples > 1)} at a time",
        "lower --length or --count" + ", or leave out --format jsonl" * as_json,
    )


def _prompts(chunks: Iterable[list[Line]]) -> Iterator[list[bytes]]:
    """The lines of a file or pipe, as many at a time as can be read without waiting."""
    from charrnn.cli.lines import without_byte_order_mark

    for chunk in without_byte_order_mark(chunks):
        yield [line.data for line in chunk]


def _only_one(prompts: Iterable[list[bytes]]) -> list[bytes]:
    """The first prompt, if any; `UsageError` where there are more."""
    found = list(islice(chain.from_iterable(prompts), 2))
    if len(found) > 1:
        raise UsageError("--length is inf and there are several prompts; the first would never end: give a number")
    return found


def _warned(prompts: Iterable[list[bytes]], vocabulary: Vocabulary) -> Iterator[list[bytes]]:
    """The prompts, with one warning where they have out-of-vocabulary units."""
    warned = False
    for some in prompts:
        warned = warned or _warn_unknown(some, vocabulary)
        yield some


def _warn_unknown(prompts: Sequence[bytes], vocabulary: Vocabulary) -> bool:
    """Warn of out-of-vocabulary units in the prompts; whether there were any."""
    from charrnn.tasks.sampling import encode_prompt

    unknown = dict.fromkeys(unit for prompt in prompts for unit in encode_prompt(vocabulary, prompt)[1])
    if unknown:
        shown = listed([*map(repr, unknown)], 5)
        kind = "word" if vocabulary.unit == "word" else "character"
        these = f"a {kind}" if len(unknown) == 1 else f"{len(unknown)} {kind}s"
        streams.warn(f"the prompt has {these} that the model does not know: {shown}; read as the unknown token")
    return bool(unknown)
