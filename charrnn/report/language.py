"""The sections of a language model: what surprises it, what it writes, what its cells follow."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from charrnn.errors import CharrnnError
from charrnn.report import draw, page
from charrnn.report.calibration import calibration
from charrnn.report.inside import inside
from charrnn.report.page import Item, Section
from charrnn.report.states import Windows
from charrnn.report.text import percent, unit_text, visible
from charrnn.tasks.score_records import Line
from charrnn.tasks.trained_language import TrainedLanguageModel
from charrnn.text.vocabulary import EOS

MOST_UNITS, LEAST_UNITS = 60_000, 4000  # of a text that are looked at
MOST_WORK = 1.5e11  # multiplications for that, about
SHOWN_UNITS = 1500  # coloured by surprisal
SHOWN_CHARACTERS = 4000  # of these
SAMPLE = 4000  # units that are drawn where no text is given
ALTERNATIVES = 5
TEMPERATURES = 0.5, 0.8, 1.0
SAMPLE_LENGTH = {"char": 400, "byte": 400, "word": 100}
SURPRISING = 8  # lines
LEAST_LINE = 3  # units of a line that is compared with others
AT_ONCE = 1 << 22  # logits in memory: 16 MB

Floats = npt.NDArray[np.float64]


@dataclass
class Reading:
    """A text of N units as the network reads it: `ids` (N), `units`, the units before them, `inputs` (N), and `resets`
    (N), whether the state is zero before. `logprobs` (N) are in nats; `sure` (N) is the probability of the best guess,
    `right` (N) whether it was right. `hidden` (n, H) are states before the first n units, those that are shown."""

    ids: npt.NDArray[np.int32]
    units: Sequence[str]
    inputs: npt.NDArray[np.int32]
    resets: npt.NDArray[np.bool_]
    logprobs: Floats
    sure: Floats
    right: npt.NDArray[np.bool_]
    hidden: npt.NDArray[np.float32]


def sections(model: TrainedLanguageModel, records: Sequence[Line] | None, seed: int) -> Iterator[Section]:
    """See `report.sections`; records are the lines of a text. All of it is about the network, without a memory."""
    model = model.without_memory()
    if records is None:
        text = model.sample(length=SAMPLE, seed=seed)[0].encode()
        whose = "The text is the model's own, drawn at temperature 1: it shows how sure the model is, not how right."
    else:
        text = b"\n".join(line.data for line in records)
        text += b"\n" * (records[-1].ended or model.text.lines)
        whose = "The text is the held-out one that was given."
    if not text.strip():
        raise CharrnnError("the text has nothing but white space; give one like that the model was trained on")
    reading = read(model, text)
    yield Section("What surprises it", whose, [_surprisal(model, reading), *_lines(reading)])
    yield Section("What it writes", "", [_samples(model, seed)])
    yield Section("Where the loss comes from", whose, list(_sources(model, reading)))
    yield from inside(model, reading.units, reading.ids, reading.inputs, reading.resets)


def read(model: TrainedLanguageModel, text: bytes) -> Reading:
    """Read the first units of a text."""
    vocabulary, network, config = model.vocabulary, model.network, model.network.config
    H, V = config.hidden_size, len(vocabulary)
    most = int(min(MOST_UNITS, max(LEAST_UNITS, MOST_WORK / (network.parameters.size + H * V))))
    part = text[: most * (20 if vocabulary.unit == "word" else 4)]
    decoded = part if vocabulary.unit == "byte" else part.decode("utf-8", "replace")
    ids = vocabulary.encode(decoded)[:most].astype(np.int32)
    units = [_shown(unit, vocabulary.unit) for unit in vocabulary.split(decoded)[:most]]
    inputs = np.concatenate([np.array([EOS], np.int32), ids[:-1]])
    resets = inputs == EOS if model.text.lines else np.zeros(len(ids), np.bool_)
    shown = _count_shown(units)
    logprobs, sure, right = np.empty(len(ids)), np.empty(len(ids)), np.empty(len(ids), np.bool_)
    hidden = np.empty((shown, H), np.float32)
    with network.lock:
        for places, chosen, states in Windows(inputs, resets).read(network):
            some = states[chosen]
            first = places < shown
            hidden[places[first]] = some[first]
            for start in range(0, len(places), rows := max(1, AT_ONCE // V)):
                of = places[start : start + rows]
                logits = network.logits(some[start : start + rows])
                highest = logits.max(axis=1)
                total = np.log(np.exp(logits - highest[:, np.newaxis]).sum(axis=1, dtype=np.float64))
                logprobs[of] = logits[np.arange(len(of)), ids[of]] - highest - total
                sure[of], right[of] = np.exp(-total), logits.argmax(axis=1) == ids[of]
    if not np.isfinite(logprobs).all():
        raise CharrnnError("the model gives the text no finite probability: its weights are too large or damaged")
    return Reading(ids, units, inputs, resets, logprobs, sure, right, hidden)


def _shown(unit: str, kind: str) -> str:
    """A unit as text; one of a byte model is two hexadecimal digits."""
    if kind != "byte" or len(unit) != 2:
        return unit
    value = int(unit, 16)
    return chr(value) if value < 0x80 else f"\\x{value:02x}"


def _distribution(model: TrainedLanguageModel, hidden: npt.NDArray[np.float32]) -> Floats:
    """Probabilities (N, V) of the next unit given hidden states (N, H)."""
    logits = model.network.logits(hidden).astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    odds = np.exp(logits)
    found: Floats = odds / odds.sum(axis=1, keepdims=True)
    return found


def _surprisal(model: TrainedLanguageModel, reading: Reading) -> Item:
    """The text, each unit coloured, with what else was probable in its place."""
    shown = len(reading.hidden)
    names = [unit_text(_shown(unit, model.vocabulary.unit)) for unit in model.vocabulary.units]
    names[EOS] = unit_text("\n")
    found: list[tuple[str, int, str]] = []
    rows = max(1, AT_ONCE // len(names))
    for start in range(0, shown, rows):
        probabilities = _distribution(model, reading.hidden[start : min(start + rows, shown)])
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :ALTERNATIVES]
        for n, (row, order) in enumerate(zip(probabilities, best.tolist(), strict=True), start):
            nats = -reading.logprobs[n]
            bits = nats / math.log(2)
            others = "   ".join(f"{names[one]} {percent(float(row[one]))}" for one in order)
            own = f"{unit_text(reading.units[n])}: {percent(math.exp(-nats))}, {bits:.1f} bits."
            unit = visible(reading.units[n].replace("\n", "⏎\n"), 80, keep="\n\t")
            found.append((unit, min(page.HEATS, round(bits)), f"{own} Most probable here: {others}"))
    return page.units(
        "The text, coloured by surprisal",
        "The darker a place, the less the model expected what stands there: 1 bit is a guess between two, 8 bits one "
        "among 256. Point at a place, or walk with the arrow keys, to see the five units it found most probable.",
        found,
    )  # fmt: skip


def _count_shown(units: Sequence[str]) -> int:
    """How many units are shown coloured."""
    total = 0
    for n, unit in enumerate(units[:SHOWN_UNITS]):
        total += len(unit)
        if total > SHOWN_CHARACTERS:
            return max(n, 1)
    return min(len(units), SHOWN_UNITS)


def _lines(reading: Reading) -> Iterator[Item]:
    """The lines whose units are the most surprising on average."""
    stops = [n + 1 for n, unit in enumerate(reading.units) if unit == "\n"]
    starts = [0, *stops[:-1]]
    rows = [(float(-reading.logprobs[a:b].mean()) / math.log(2), a, b)
            for a, b in zip(starts, stops, strict=False) if b - a > LEAST_LINE]  # fmt: skip
    if len(rows) < 2:
        return
    seen, worst = set(), []
    for bits, a, b in sorted(rows, reverse=True):
        if (text := "".join(reading.units[a : min(b, a + 300)]).strip("\n")) not in seen:
            seen.add(text)
            worst.append((visible(text, 200, keep="\t"), f"{bits:.2f}"))
        if len(worst) == SURPRISING:
            break
    mean = float(-reading.logprobs.mean()) / math.log(2)
    yield page.table(
        "The most surprising lines",
        f"Bits for each unit, averaged over the line; over the whole text it is {mean:.2f}. Such lines are often of "
        "another kind than the corpus, such as tables, names or another language.",
        ("line", "bits"), worst,
    )  # fmt: skip


def _samples(model: TrainedLanguageModel, seed: int) -> Item:
    """Samples at several temperatures."""
    found = []
    for temperature in TEMPERATURES:
        [text] = model.sample(length=SAMPLE_LENGTH[model.vocabulary.unit], temperature=temperature, seed=seed)
        found.append((f"temperature {temperature:g}", visible(text.strip("\n"), 2000, keep="\n\t")))
    return page.texts(
        "Samples at three temperatures",
        "At temperature 1 the model draws each unit with the probability it computed. Lower temperatures favour the "
        "probable: the text is safer and repeats itself more.",
        found,
    )  # fmt: skip


def _sources(model: TrainedLanguageModel, reading: Reading) -> Iterator[Item]:
    """The loss by position in the line, class of character and frequency, and calibration."""
    bits = -reading.logprobs / math.log(2)
    place, count = np.zeros(len(bits), np.int64), 0
    for n, unit in enumerate(reading.units):
        place[n] = count
        count = 0 if unit == "\n" else count + 1
    if place.max(initial=0) > 0:
        edges = [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 1 << 62]
        names, values = _grouped(np.searchsorted(edges, place, side="right") - 1, bits,
                                 [_span(a, b) for a, b in pairwise(edges)])  # fmt: skip
        yield page.figure(
            "By position in the line",
            "The mean surprisal of the units at each distance from the start of their line; the dashed line is the "
            "mean of all. In prose the start of a line is the hardest, since little before it says what comes.",
            draw.bars(names, values, "units since the start of the line", "bits per unit", level=float(bits.mean())),
        )  # fmt: skip
    kinds = [_kind(*pair) for pair in pairwise(["\n", *reading.units])]
    order = [name for name, _ in Counter(kinds).most_common(8)]
    numbers = {name: n for n, name in enumerate(order)}
    names, values = _grouped(np.array([numbers.get(kind, len(order)) for kind in kinds]), bits, [*order, "other"])
    yield page.figure(
        "By kind of unit",
        "The mean surprisal of units by what they begin with, the most frequent kind first. A letter that starts a "
        "word is harder than those after it: once begun, words are easy to finish.",
        draw.bars(names, values, "kind", "bits per unit", level=float(bits.mean())),
    )  # fmt: skip
    yield from _by_frequency(model, reading, bits)
    yield calibration(reading.sure, reading.right, "unit")


def _span(a: int, b: int) -> str:
    return f"{a}" if b == a + 1 else f"{a}+" if b > 1 << 40 else f"{a}-{b - 1}"


def _grouped(groups: npt.NDArray[np.int64], values: Floats, names: Sequence[str]) -> tuple[list[str], list[float]]:
    """The names of the groups that occur and their mean values."""
    counts = np.bincount(groups, minlength=len(names))
    sums = np.bincount(groups, weights=values, minlength=len(names))
    return [names[n] for n in np.flatnonzero(counts).tolist()], (sums[counts > 0] / counts[counts > 0]).tolist()


def _kind(before: str, unit: str) -> str:
    """The kind of a unit, by its first character that is no space; a letter may go on with the word `before`."""
    first = unit.lstrip(" ")[:1]
    if not first:
        return "space"
    if first == "\n":
        return "end of line"
    if first.isspace():
        return "space"
    if first.isupper():
        return "capital"
    if first.isalpha():
        return "in a word" if before[-1:].isalpha() and unit[:1] == first else "first letter"
    return "digit" if first.isdigit() else "sign"


def _by_frequency(model: TrainedLanguageModel, reading: Reading, bits: Floats) -> Iterator[Item]:
    """The loss of words by how often they occur: units of words by rank, words of characters by their count here."""
    if model.vocabulary.unit == "word":
        edges = np.array([2, 12, 102, 1002, 10_002, 1 << 40])
        groups = np.where(reading.ids < 2, 5, np.searchsorted(edges, reading.ids, side="right") - 1)
        labels = ["1-10", "11-100", "101-1000", "1001-10000", "rarer", "unknown, end"]
        names, values = _grouped(groups, bits, labels)
        of = "rank of the word in the training text"
    else:
        words, loss = _words(reading.units, bits)
        if len(words) < 20:
            return
        counts = Counter(words)
        edges = np.array([1, 2, 4, 8, 16, 64, 256, 1 << 40])
        groups = np.searchsorted(edges, [counts[word] for word in words], side="right") - 1
        names, values = _grouped(groups, np.array(loss), ["1", "2-3", "4-7", "8-15", "16-63", "64-255", "256+"])
        of = "times that the word occurs in this text"
    if len(names) < 2:
        return
    yield page.figure(
        "By frequency of the word",
        "The surprisal of whole words, grouped by how frequent they are. Rare words cost many times what frequent ones "
        "do, and make up much of the loss.",
        draw.bars(names, values, of, "bits per word"),
    )  # fmt: skip


def _words(units: Sequence[str], bits: Floats) -> tuple[list[str], list[float]]:
    """The words of a text of characters, and the surprisal of each."""
    words: list[str] = []
    loss: list[float] = []
    inside = False
    for unit, value in zip(units, bits.tolist(), strict=True):
        if unit.isalpha() and inside and len(words[-1]) < 60:
            words[-1] += unit
            loss[-1] += value
        elif unit.isalpha():
            words.append(unit)
            loss.append(value)
        inside = unit.isalpha()
    return words, loss
