"""Other programs that learn labels from the same records, one function each, run by the Python of `make peers`.

    .venv-peers/bin/python -m benchmarks.rivals NAME request.json answer.json

Request and answer are those of all rivals. Choices that a user would tune are made on a tenth of `train`.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

BEGUN = time.perf_counter()
TOKENS = re.compile(r"\w+|[^\w\s]")
HELD_OUT = 10  # one record of so many is held out
# fastText: passes, learning rates and n-grams. Its buckets are far more than the n-grams of small data.
PASSES, RATES, WORD_NGRAMS, CHARACTER_NGRAMS, BUCKETS = (10, 25, 50), (0.5, 0.2, 1.0), 2, (1, 4), 500_000
INVERSE_PENALTIES = (10.0, 100.0, 1.0)  # of logistic regression
# The bidirectional LSTM.
EMBEDDING, HIDDEN, DROPOUT, LEARNING_RATE, BATCH, POOL, MOST_PASSES = 64, 128, 0.5, 2e-3, 32, 20, 100
RESERVE = 0.05  # of the time, for the predictions
PADDING, UNKNOWN = 0, 1

Pairs = list[tuple[Any, Any]]


@dataclass(frozen=True)
class Request:
    """What a rival is asked: `train` are pairs of input and output, `test` inputs, `seconds` the time for the whole
    command; `held_out` pairs to stop and choose by, otherwise a tenth of `train`; `by_characters`: texts are short,
    such as names; `sizes` of the network."""

    train: Pairs
    test: list[Any]
    seed: int
    threads: int
    seconds: float
    by_characters: bool = False
    held_out: Pairs = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)

    def left(self) -> float:
        """The seconds left, the predictions' share aside."""
        return self.seconds * (1 - RESERVE) - (time.perf_counter() - BEGUN)

    def split(self) -> tuple[Pairs, Pairs]:
        """The training part without what is there to choose by, and that."""
        if self.held_out:
            return self.train, self.held_out
        pairs = list(self.train)
        Random(self.seed).shuffle(pairs)
        held_out = max(1, len(pairs) // HELD_OUT)
        return pairs[held_out:], pairs[:held_out]


@dataclass(frozen=True)
class Answer:
    """Name and version of the package, and an output for each input of the test part; `seconds`: of predicting them all
    once more, by what is done."""

    package: str
    outputs: list[Any]
    seconds: dict[str, float] = field(default_factory=dict)


Learn = Callable[[Pairs], Callable[[Sequence[Any]], list[Any]]]


def accuracy(outputs: Sequence[Any], pairs: Pairs) -> float:
    """The share of `outputs` that is right."""
    right = sum(bool(output == true) for output, (_, true) in zip(outputs, pairs, strict=True))
    return right / len(pairs)


def best_of(request: Request, ways: Sequence[Learn]) -> list[Any]:
    """The outputs of the way to learn that is best on the tenth held out, then learned from everything.

    No further way is tried when less than four times the time of the last one is left. The records come in random
    order: fastText does not shuffle them.
    """
    part, held_out = request.split()
    found: list[tuple[float, int]] = []
    for number, learn in enumerate(ways):
        before = request.left()
        found.append((-accuracy(learn(part)([text for text, _ in held_out]), held_out), number))
        if request.left() < 4 * (before - request.left()):
            break
    return ways[min(found)[1]]([*part, *held_out])(request.test)


def timed(predict: Callable[[Sequence[Any]], list[Any]], inputs: Sequence[Any]) -> tuple[list[Any], float]:
    """The outputs, and the seconds of all: the median of three times, after some were made once."""
    predict(inputs[:50])
    seconds: list[float] = []
    for _ in range(3):
        begun = time.perf_counter()
        outputs = predict(inputs)
        seconds.append(time.perf_counter() - begun)
    return outputs, sorted(seconds)[1]


def fasttext(request: Request) -> Answer:
    """Words and bigrams, or n-grams of characters.

    Joulin et al. 2017, "Bag of tricks for efficient text classification".
    """
    from importlib.metadata import version

    import fasttext as package

    labels = sorted({label for _, label in request.train})
    least, most = CHARACTER_NGRAMS if request.by_characters else (0, 0)

    def line(text: str) -> str:
        return " ".join(TOKENS.findall(text.lower()))

    def learner(passes: int, rate: float) -> Learn:
        def learn(pairs: Pairs) -> Callable[[Sequence[Any]], list[Any]]:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder, "train.txt")
                # The text is in lower case, so that no word of it is read as a label.
                file.write_text("".join(f"__LABEL__{labels.index(label)} {line(text)}\n" for text, label in pairs))
                model = package.train_supervised(
                    str(file), label="__LABEL__", epoch=passes, lr=rate, wordNgrams=WORD_NGRAMS, minn=least, maxn=most,
                    bucket=BUCKETS, thread=request.threads, seed=request.seed, verbose=0,
                )  # fmt: skip
            # Not model.predict: it asks NumPy for something that NumPy 2 refuses.
            first = labels[0]  # of a text without words

            def predict(texts: Sequence[Any]) -> list[Any]:
                found = (model.f.predict(line(text) + "\n", 1, -1.0, "strict") for text in texts)
                return [labels[int(one[0][1].removeprefix("__LABEL__"))] if one else first for one in found]

            return predict

        return learn

    ways = [learner(*choice) for choice in product(PASSES, RATES)]
    return Answer(f"fastText {version('fasttext-wheel')}", best_of(request, ways))


def logistic_regression(request: Request) -> Answer:
    """TF-IDF of words 1 to 2, or of characters 1 to 4, and a logistic regression."""
    import sklearn
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    if request.by_characters:
        options: dict[str, Any] = {"analyzer": "char_wb", "ngram_range": (1, 4)}
    else:
        options = {"ngram_range": (1, 2), "token_pattern": TOKENS.pattern}

    def learner(penalty: float) -> Learn:
        def learn(pairs: Pairs) -> Callable[[Sequence[Any]], list[Any]]:
            model = make_pipeline(
                TfidfVectorizer(sublinear_tf=True, **options), LogisticRegression(C=penalty, max_iter=1000, tol=1e-3)
            )
            model.fit([text for text, _ in pairs], [label for _, label in pairs])
            return lambda texts: model.predict(list(texts)).tolist()

        return learn

    answer = best_of(request, [learner(penalty) for penalty in INVERSE_PENALTIES])
    return Answer(f"scikit-learn {sklearn.__version__}", answer)


def bidirectional_lstm(request: Request) -> Answer:
    """Embedding, a bidirectional LSTM, maximum over time, dropout, Adam, early stopping; batches of similar length."""
    import torch

    from benchmarks.torch_parts import BothDirections, learn, padded, real_steps

    torch.manual_seed(request.seed)
    torch.set_num_threads(request.threads)
    part, held_out = request.split()

    def units(text: str) -> list[str]:
        return list(text) if request.by_characters else TOKENS.findall(text.lower())

    counts = Counter(unit for text, _ in part for unit in units(text))
    least = 1 if request.by_characters else 2
    known = {unit: n for n, unit in enumerate((unit for unit, count in counts.items() if count >= least), UNKNOWN + 1)}
    labels = sorted({label for _, label in request.train})
    numbers = {label: n for n, label in enumerate(labels)}

    def encoded(texts: Sequence[Any]) -> list[Any]:
        return [torch.tensor([known.get(unit, UNKNOWN) for unit in units(text)] or [UNKNOWN]) for text in texts]

    class Network(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding(len(known) + 2, EMBEDDING, padding_idx=PADDING)
            self.rnn = BothDirections(EMBEDDING, HIDDEN)
            self.dropout = torch.nn.Dropout(DROPOUT)
            self.output = torch.nn.Linear(2 * HIDDEN, len(labels))

        def forward(self, sequences: list[Any]) -> Any:
            inputs, lengths = padded(sequences)
            hidden = self.rnn(self.dropout(self.embedding(inputs)), lengths)
            hidden = hidden.masked_fill(~real_steps(lengths)[:, :, None], -torch.inf)  # padding is never the maximum
            return self.output(self.dropout(hidden.max(dim=1).values))

    network = Network()
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    inputs, targets = encoded([text for text, _ in part]), torch.tensor([numbers[label] for _, label in part])
    to_choose, true = encoded([text for text, _ in held_out]), [numbers[label] for _, label in held_out]

    def predict(sequences: list[Any]) -> tuple[list[int], Any]:
        """Labels and logits, in batches of similar length."""
        network.eval()
        logits = torch.empty(len(sequences), len(labels))
        with torch.inference_mode():
            for chosen in batches(sorted(range(len(sequences)), key=lambda n: len(sequences[n])), 4 * BATCH):
                logits[chosen] = network([sequences[n] for n in chosen])
        return logits.argmax(dim=1).tolist(), logits

    choose, cross_entropy = Random(request.seed), torch.nn.functional.cross_entropy
    learn(
        network,
        optimizer,
        batches=lambda: similar_batches([len(sequence) for sequence in inputs], choose),
        loss=lambda chosen: cross_entropy(network([inputs[n] for n in chosen]), targets[chosen]),
        value=lambda: float(cross_entropy(predict(to_choose)[1], torch.tensor(true))),
        left=request.left,
        passes=MOST_PASSES,
        every=-(-len(inputs) // BATCH),
    )
    return Answer(f"PyTorch {torch.__version__}", [labels[n] for n in predict(encoded(request.test))[0]])


def batches(numbers: list[int], size: int) -> Iterator[list[int]]:
    """Pieces of `numbers`."""
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]


def similar_batches(lengths: list[int], choose: Random, size: int = BATCH) -> list[list[int]]:
    """The numbers of all sequences in batches of similar length, in random order."""
    order = list(range(len(lengths)))
    choose.shuffle(order)
    found: list[list[int]] = []
    for pool in batches(order, POOL * size):
        found += batches(sorted(pool, key=lengths.__getitem__), size)
    choose.shuffle(found)
    return found


RIVALS: dict[str, Callable[[Request], Answer]] = {
    "fasttext": fasttext,
    "logistic-regression": logistic_regression,
    "bilstm": bidirectional_lstm,
}


def answer(rivals: Mapping[str, Callable[[Request], Answer]]) -> None:
    """Read a request, write the answer of the rival asked; the files and the name are the command's arguments."""
    name, asked, answered = sys.argv[1:]
    found = rivals[name](Request(**json.loads(Path(asked).read_text(encoding="utf-8"))))
    Path(answered).write_text(json.dumps(asdict(found)), encoding="utf-8")


if __name__ == "__main__":
    answer(RIVALS)
