"""Other programs that learn tags from the same sentences, run by the Python of `make peers`; see benchmarks/rivals.py.

    .venv-peers/bin/python -m benchmarks.tag_rivals NAME request.json answer.json

Inputs are lists of words, outputs lists of tags. What is held out decides when to stop, and between penalties.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from benchmarks.rivals import Answer, Pairs, Request, answer, batches, similar_batches, timed
from charrnn.tasks.tag_figures import TagFigures
from charrnn.text.tag_schemes import scheme_of
from charrnn.text.tagged_corpus import TagSet

PENALTIES = ((0.1, 0.01), (0.0, 1.0), (0.5, 0.01), (0.0, 0.1))  # of CRFsuite: of the sum of weights, and of squares
MOST_ITERATIONS, TRIED_ITERATIONS = 300, 5
# The network's sizes are those of Lample et al. 2016.
WORD_VECTOR, CHARACTER_VECTOR, CHARACTER_HIDDEN, HIDDEN, DROPOUT = 100, 25, 25, 100, 0.5
LEARNING_RATE, BATCH, MOST_PASSES, RARE = 4e-3, 16, 30, 0.5
PADDING, UNKNOWN = 0, 1

Sentence = Sequence[str]


def figures(pairs: Pairs, outputs: Sequence[Sentence], known: Collection[str]) -> dict[str, Any]:
    """Those of `charrnn score`: accuracy, F1 where tags are spans, accuracy of the words that are not `known`."""
    tags = {tag for sentence in (*outputs, *(true for _, true in pairs)) for tag in sentence}
    numbers = {tag: number for number, tag in enumerate(sorted(tags))}

    def flat(sentences: Sequence[Sentence]) -> Any:
        return np.array([numbers[tag] for sentence in sentences for tag in sentence], np.int32)

    found = TagFigures(TagSet(tuple(numbers), scheme_of(numbers, begun_inside=False), (0, 0)))
    words = np.array([word in known for sentence, _ in pairs for word in sentence], np.int32)
    lengths = np.array([len(sentence) for sentence, _ in pairs], np.int64)
    found.add(flat([true for _, true in pairs]), flat(outputs), words, lengths)
    return found.as_dict()


def value(pairs: Pairs, outputs: Sequence[Sentence]) -> float:
    """The share of spans, or of tags, that is wrong."""
    found = figures(pairs, outputs, ())
    return 1 - float(found.get("f1", found["accuracy"]))


@cache
def shape(word: str) -> str:
    """`Xxd-` for `Abc12-`: kinds of characters, repetitions left out."""
    kinds = re.sub(r"[^\W\d_]", lambda letter: "X" if letter[0].isupper() else "x", word)
    return re.sub(r"(.)\1+", r"\1", re.sub(r"\d", "d", kinds))


@cache
def own_features(word: str) -> list[str]:
    """What a word has by itself."""
    low = word.lower()
    found = [f"w={low}", f"shape={shape(word)}"]
    found += [f"prefix={low[:n]}" for n in range(1, 5) if n <= len(low)]
    found += [f"suffix={low[-n:]}" for n in range(1, 5) if n <= len(low)]
    return found + [
        name
        for name, there in (
            ("digit", any(map(str.isdigit, word))), ("digits", word.isdigit()), ("title", word.istitle()),
            ("upper", word.isupper()), ("hyphen", "-" in word),
        )
        if there
    ]  # fmt: skip


def features(sentence: Sentence) -> list[list[str]]:
    """Those of each word: its own, and words and shapes of two neighbours on each side."""
    found = []
    for place, word in enumerate(sentence):
        names = [*own_features(word), "bias"]
        for step in (-2, -1, 1, 2):
            if 0 <= place + step < len(sentence):
                near = sentence[place + step]
                names += [f"{step}w={near.lower()}", f"{step}shape={shape(near)}"]
            else:
                names.append(f"{step}none")
        found.append(names)
    return found


def crfsuite(request: Request) -> Answer:
    """A conditional random field, trained by L-BFGS as far as the time allows. It uses one thread."""
    from importlib.metadata import version

    import pycrfsuite

    part, held_out = request.split()
    data = [(pycrfsuite.ItemSequence(features(words)), tags) for words, tags in part]

    def learn(path: Path, penalties: tuple[float, float], iterations: int) -> Any:
        trainer = pycrfsuite.Trainer(verbose=False)
        for sequence, tags in data:
            trainer.append(sequence, tags)
        trainer.set_params({
            "c1": penalties[0], "c2": penalties[1], "max_iterations": iterations, "feature.possible_transitions": True,
        })  # fmt: skip
        trainer.train(str(path))
        tagger = pycrfsuite.Tagger()
        tagger.open(str(path))
        return tagger

    with tempfile.TemporaryDirectory() as folder:
        begun = request.left()
        learn(Path(folder, "tried"), PENALTIES[0], TRIED_ITERATIONS)
        each = (begun - request.left()) / TRIED_ITERATIONS
        found: list[tuple[float, int, Any]] = []
        for number, penalties in enumerate(PENALTIES):
            before = request.left()
            tagger = learn(Path(folder, str(number)), penalties, max(10, min(MOST_ITERATIONS, int(before / each))))
            outputs = [tagger.tag(features(words)) for words, _ in held_out]
            found.append((value(held_out, outputs), number, tagger))
            if request.left() < 1.2 * (before - request.left()):
                break
        tagger = min(found, key=lambda one: one[:2])[2]
        ready = [pycrfsuite.ItemSequence(features(words)) for words in request.test]
        _, alone = timed(lambda sequences: [tagger.tag(sequence) for sequence in sequences], ready)
        outputs, seconds = timed(lambda test: [tagger.tag(features(words)) for words in test], request.test)
    times = {"tagging": seconds, "tagging, features ready": alone}
    return Answer(f"python-crfsuite {version('python-crfsuite')}", outputs, times)


def bidirectional_lstm(request: Request) -> Answer:
    """Words and, by an LSTM over their characters, their spelling; a bidirectional LSTM; a conditional random field
    where tags are spans. Lample et al. 2016, "Neural architectures for named entity recognition", with Adam."""
    import torch

    from benchmarks.torch_parts import learn
    from benchmarks.torch_tagger import Tagger

    torch.manual_seed(request.seed)
    torch.set_num_threads(request.threads)
    part, held_out = request.split()
    choose = Random(request.seed)

    @cache
    def plain(word: str) -> str:
        return re.sub(r"\d", "0", word.lower())

    counts = Counter(plain(word) for words, _ in part for word in words)
    numbers = {word: n for n, word in enumerate(counts, UNKNOWN + 1)}
    letters = {
        letter: n for n, letter in enumerate(sorted({c for words, _ in part for w in words for c in w}), UNKNOWN + 1)
    }  # fmt: skip
    labels = sorted({tag for _, tags in part for tag in tags})
    label_numbers = {label: n for n, label in enumerate(labels)}
    spans = scheme_of(labels, begun_inside=False) != ""
    network = Tagger(len(numbers) + 2, len(letters) + 2, len(labels), fields=spans)
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)

    @cache
    def spelled(word: str) -> Any:
        return torch.tensor([letters.get(letter, UNKNOWN) for letter in word])

    def encoded(sentences: Sequence[Sentence]) -> tuple[list[Any], list[Any]]:
        """Numbers of words; in training half of those that occur once are unknown."""
        ids = [[numbers.get(plain(word), UNKNOWN) for word in words] for words in sentences]
        if network.training:
            ids = [
                [UNKNOWN if counts[plain(w)] == 1 and choose.random() < RARE else n for w, n in zip(*both, strict=True)]
                for both in zip(sentences, ids, strict=True)
            ]
        spellings = {word: n for n, word in enumerate(dict.fromkeys(word for words in sentences for word in words))}
        places = [[spellings[word] for word in words] for words in sentences]
        rows = [torch.stack([torch.tensor(pair) for pair in both]) for both in zip(ids, places, strict=True)]
        return rows, [spelled(word) for word in spellings]

    def tag(sentences: Sequence[Sentence]) -> list[Any]:
        found: list[Any] = [None] * len(sentences)
        with torch.inference_mode():
            for chosen in batches(sorted(range(len(sentences)), key=lambda n: len(sentences[n])), 8 * BATCH):
                best = network.best(*encoded([sentences[n] for n in chosen]))
                for n, tags in zip(chosen, best, strict=True):
                    found[n] = [labels[number] for number in tags]
        return found

    true = [torch.tensor([label_numbers[tag] for tag in tags]) for _, tags in part]
    learn(
        network,
        optimizer,
        batches=lambda: similar_batches([len(words) for words, _ in part], choose, BATCH),
        loss=lambda chosen: network.loss(*encoded([part[n][0] for n in chosen]), [true[n] for n in chosen]),
        value=lambda: value(held_out, tag([words for words, _ in held_out])),
        left=request.left,
        passes=MOST_PASSES,
        every=-(-len(part) // BATCH),
        anneal=True,
    )
    outputs, seconds = timed(tag, request.test)
    return Answer(f"PyTorch {torch.__version__}", outputs, {"tagging": seconds})


RIVALS: dict[str, Callable[[Request], Answer]] = {"crfsuite": crfsuite, "bilstm": bidirectional_lstm}


if __name__ == "__main__":
    answer(RIVALS)
