"""Checkpoints from strangers: good files with something changed, each of which must be refused or work.

    python -m tests.fuzz --count 2000 --seed 1 [--task NAME]

prints how often each thing happened, and ends with status 1 if something did that must not: an error that is not the
project's own or not one line, more than a second, more than 200 MB of memory. A file with the state of a training run
is resumed too, with its corpus at hand, and takes a step.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from random import Random

import numpy as np

from charrnn import tasks
from charrnn.checkpoint import Checkpoint
from charrnn.cli import info, sample_numbers, sample_texts, streams
from charrnn.cli.by_task import PREDICT, SCORE, Asked
from charrnn.errors import CharrnnError
from charrnn.sampling_config import SamplingConfig
from charrnn.tasks.score_records import Line
from charrnn.tasks.trained_classifier import TrainedClassifier
from charrnn.tasks.trained_forecaster import TrainedForecaster
from charrnn.tasks.trained_language import TrainedLanguageModel
from charrnn.tasks.trained_tagger import TrainedTagger
from charrnn.tasks.trained_translator import TrainedTranslator
from charrnn.training import setup
from charrnn.training.events import Diverged, End, Sampled, Step
from charrnn.training.loop import train
from charrnn.training.task import Request
from tests.good_files import CORPORA, FILES, RESUMABLE, TRAINED, good_files
from tests.mutations import training_entry, training_tensors
from tests.task_mutations import MUTATIONS, OF_TASKS

SECONDS = 1.0
MEGABYTES = 200


class Hung(BaseException):
    """The time was up."""


def use(path: Path) -> str:
    """All that the commands do with a checkpoint: describe it, compute with it, go on with its training.

    Returns "works", or "resumes" where it had a run to go on with.
    """
    description = info.describe(str(path), tasks.read_contents(path))
    json.dumps(description, ensure_ascii=False, allow_nan=False)
    for line in info.as_text(description):
        assert streams.printable(line).isprintable()
    loaded = tasks.load_checkpoint(path, with_training=True)
    USES[loaded.format.task](loaded)
    if not loaded.training_tensors:
        return "works"
    resume(path, loaded)
    return "resumes"


def write_and_score(loaded: Checkpoint) -> None:
    """Five units of a language model, and the score of a line, which the model may learn from."""
    model = TrainedLanguageModel.of(loaded)
    pieces = list(model.pieces([b"a"], SamplingConfig(length=5, lines=loaded.text.lines)))
    assert pieces[-1].tokens <= 5
    assert pieces[-1].stopped_by is not None
    for adapt in (False, True):
        [[score]] = model.score_chunks([[Line(b"a w1 \xc3\xa9 zz " * 2)]], per_token=True, adapt=adapt)
        assert np.isfinite([score.logprob, score.bits_per_byte, score.perplexity, *score.unit_logprobs]).all()


@contextlib.contextmanager
def written() -> Iterator[list[str]]:
    """The lines that are written to stdout meanwhile, there at the end."""
    lines: list[str] = []
    buffer = io.BytesIO()
    out = io.TextIOWrapper(buffer, encoding="utf-8")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        yield lines
    lines += buffer.getvalue().decode(errors="replace").split("\n")[:-1]


def label_and_score(loaded: Checkpoint) -> None:
    """The labels of three lines, and the scores of two records."""
    model = TrainedClassifier.of(loaded)
    lines = [Line(b"a w1 \xc3\xa9 zz"), Line(b""), Line(b"the cat\tsits")]
    with written() as found:
        for asked in (Asked(best=2), Asked(format="jsonl", best=5)):
            PREDICT["classify"].write(model, [lines], asked)
        for asked in (Asked(), Asked(summary=True)):
            SCORE["classify"].write(model, [[Line(b"spam\ta w1"), Line(b"other\tzz")]], asked)
    assert len(found) == 2 * len(lines) + 2 + 1
    for line in found[len(lines) : 2 * len(lines)]:
        chances = [label["probability"] for label in json.loads(line)["labels"]]
        assert np.isfinite(chances).all()
        assert 0 < sum(chances) < 1.000001
    loss = json.loads(found[-1])["log_loss"]
    assert (loss is None) == ("spam" not in model.labels)  # no label is known
    assert loss is None or np.isfinite(loss)


def tag_and_score(loaded: Checkpoint) -> None:
    """The tags of three sentences, and the scores of two."""
    model = TrainedTagger.of(loaded)
    data = b"the O\nZo\xc3\xab B-PER\n\nzz \xff\nin O\n\nBath B-LOC\n"
    lines = [Line(line) for line in data.split(b"\n")[:-1]]
    with written() as found:
        PREDICT["tag"].write(model, [lines], Asked(columns="1"))
        PREDICT["tag"].write(model, [lines], Asked(columns="1", format="jsonl"))
    assert len(found) == len(lines) + 3
    assert [len(json.loads(line)["tags"]) for line in found[-3:]] == [2, 2, 1]
    with written() as found:
        for asked in (Asked(columns="1,2"), Asked(columns="1,2", summary=True)):
            SCORE["tag"].write(model, [lines], asked)
    assert len(found) == 3 + 1
    assert 0 <= json.loads(found[-1])["accuracy"] <= 1


def forecast_and_score(loaded: Checkpoint) -> None:
    """The rows after a history of 20 rows, each of these, and possible futures."""
    model = TrainedForecaster.of(loaded)
    header, *rows = CORPORA["forecast"].splitlines()
    if not loaded.data.columns.header:
        rows = TRAINED["numbers"][1].splitlines()
    lines = [Line(line.encode()) for line in ([header] if loaded.data.columns.header else []) + rows[:20]]
    with written() as found:
        PREDICT["forecast"].write(model, [lines], Asked(format="jsonl"))
        PREDICT["forecast"].write(model, [lines], Asked(rolling=True))
        sample_numbers.write(model, [lines], "a", rows=3, count=2, seed=1, format="csv")
    assert len(found) == loaded.data.config.horizon + 1 + 20 + 1 + 6
    with written() as found:
        for asked in (Asked(), Asked(summary=True)):
            SCORE["forecast"].write(model, [lines], asked)
    assert len(found) == 20 + 1


def translate_and_score(loaded: Checkpoint) -> None:
    """The outputs of three lines or labels, some samples, and the scores of as many pairs."""
    model = TrainedTranslator.of(loaded)
    sources = [label.encode() for label in model.labels[:3]] or [b"101", b"", b"\xff\xc3\xa9 z"]
    lines = [Line(source) for source in sources]
    with written() as found:
        PREDICT["translate"].write(model, [lines], Asked())
        PREDICT["translate"].write(model, [lines], Asked(format="jsonl", nbest=2, alignment=model.has_alignment))
        sample_texts.write(model, [sources], SamplingConfig(length=4), count=2, format="jsonl", delimiter=b"")
    assert len(found) >= 4 * len(lines)
    assert all(np.isfinite(json.loads(line)["logprob"]) for line in found[-3 * len(lines) : -2 * len(lines)])
    with written() as found:
        for asked in (Asked(), Asked(summary=True)):
            SCORE["translate"].write(model, [[Line(source + b"\tone Z") for source in sources if source]], asked)
    assert np.isfinite(json.loads(found[-1])["logprob"])


USES: dict[str, Callable[[Checkpoint], None]] = {
    "language": write_and_score,
    "classify": label_and_score,
    "tag": tag_and_score,
    "forecast": forecast_and_score,
    "translate": translate_and_score,
}


def resume(path: Path, run: Checkpoint) -> None:
    """Go on with a run for a step, as `charrnn train --resume` would. Raises `CharrnnError` where it is refused."""
    task = tasks.task_named(run.format.task)
    corpus, cache = path.with_name(f"{run.format.task}.txt"), path.with_name("cache")
    if not corpus.exists():
        corpus.write_text(CORPORA[run.format.task])
    request = Request([str(corpus)], path, {}, cache=cache)
    json.dumps(setup.recorded_source(run), allow_nan=False)
    result = setup.finished_result(task, replace(request, corpora=[]), run)
    if result is not None:
        json.dumps(result, allow_nan=False)
        shown = f"{result['checkpoint']} {result['stopped_by']} {result['val_loss']} {result['seconds']:.1f}"
        assert streams.printable(shown).isprintable()
    # A sample of a language model after each step tells that one was taken; the other runs are short.
    request = replace(request, given={"sample_every": 1} if result is None else {"sample_every": 1, "steps": 30})
    training = train(*setup.resume(task, request, run, lambda: 0.0))
    happened = list(takewhile(lambda event: not isinstance(event, Step | Sampled | Diverged | End), training))
    training.close()
    for event in happened:
        json.dumps(event.to_json(), allow_nan=False)


def outcome(path: Path) -> str:
    """ "works", "resumes", "refused", or what must not happen."""
    start = time.process_time()
    try:
        with limits(), warnings.catch_warnings():
            warnings.simplefilter("error")
            result = use(path)
    except CharrnnError as error:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            streams.complain(str(error))
        line = said.getvalue()
        result = "refused" if line[:-1].isprintable() and len(line) < 3000 else f"DEFECT: the message {line[:80]!r}"
    except (Exception, Hung) as error:
        result = f"DEFECT: {type(error).__name__}: {str(error)[:80]}"
    if time.process_time() - start > SECONDS and not result.startswith("DEFECT"):
        result = "DEFECT: slow"
    return result


@contextlib.contextmanager
def limits() -> Iterator[None]:
    """Not more memory than there is now and 200 MB, and not more than some seconds of work. Where the system can."""
    try:
        import resource
    except ImportError:
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise Hung

    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    most, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, 2 * SECONDS)
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEGABYTES * 1_000_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@functools.cache
def prepared() -> dict[str, bytes]:
    """The good files, after everything that is compiled or imported at first use."""
    files = good_files()
    with tempfile.TemporaryDirectory() as folder:
        for data in files.values():
            path = Path(folder, "m")
            path.write_bytes(data)
            use(path)
    return files


def kinds_for(mutation: Callable[[bytes, Random], bytes], task: str | None) -> list[str]:
    """The files, of all tasks or of one, that something can be changed in."""
    chosen = [name for name in OF_TASKS.get(mutation, FILES) if task in (None, name)]
    kinds = [kind for name in chosen for kind in RESUMABLE[name]]
    return kinds if mutation in (training_entry, training_tensors) else kinds + [k for n in chosen for k in FILES[n]]


def fuzz(count: int, seed: int, keep: Path | None = None, task: str | None = None) -> Counter[tuple[str, str]]:
    """Try `count` changed files, of all tasks or of one; how often each change had each outcome.

    Those with a defect are kept in `keep`.
    """
    files = prepared()
    mutations = [mutation for mutation in MUTATIONS if kinds_for(mutation, task)]
    found: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.safetensors")
        for number in range(count):
            choose = Random(f"{seed} {number}")
            mutation = choose.choice(mutations)
            kind = choose.choice(kinds_for(mutation, task))
            data = mutation(files[kind], choose)
            path.write_bytes(data)
            result = outcome(path)
            found[mutation.__name__, result] += 1
            if result.startswith("DEFECT"):
                print(f"seed {seed}, number {number}: {kind}, {mutation.__name__}: {result}", file=sys.stderr)
                if keep is not None:
                    (keep / f"{seed}-{number}.safetensors").write_bytes(data)
    return found


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Try checkpoints that were changed.")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the files that show a defect")
    parser.add_argument("--task", choices=FILES, help="files of one task (default: of all)")
    options = parser.parse_args()
    found = fuzz(options.count, options.seed, options.keep, options.task)
    results = sorted({result for _, result in found})
    print(f"{'change':16}" + "".join(f"{result:>12}" for result in results))
    for name in dict.fromkeys(mutation.__name__ for mutation in MUTATIONS):
        print(f"{name:16}" + "".join(f"{found[name, result]:12,}" for result in results))
    print(f"{'all':16}" + "".join(f"{sum(found[key] for key in found if key[1] == r):12,}" for r in results))
    return int(any(result.startswith("DEFECT") for result in results))


if __name__ == "__main__":
    sys.exit(main())
