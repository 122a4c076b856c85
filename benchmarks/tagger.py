"""Training a bidirectional tagger and tagging with it, in this project and in PyTorch, alternating: words a second.

    python -m benchmarks.tagger [--quick] [--sentences FILE] [--layers 1,2] [--hidden 200]

Sentences are those of a CoNLL file, or drawn: lengths as in news (22 words on average), words by Zipf's law. A step of
training is a batch made, forward, backward, clipping to norm 5 and Adam. PyTorch gets its best case, all sentences
sorted by length, so that batches need no padding to speak of, and the usual one, random order and packed sequences; we
train in random order. Words alone have the same network on both sides: embedding, LSTM, linear layer, softmax; with
parts ours adds the vectors of character n-grams, affixes and shapes, which PyTorch has not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import arguments, describe_machine, in_turns, print_table, ratio
from charrnn.config import TrainingConfig
from charrnn.models.tagger import Tagger
from charrnn.task_config import TaggerConfig
from charrnn.text.packing import by_length
from charrnn.text.tagged_batches import TaggedBatches, WordBags, evaluation_sentences
from charrnn.text.tagged_corpus import TaggedPart, TagSet, Words, choose_buckets
from charrnn.text.word_parts import hash_words
from charrnn.training.optimizer import Optimizer

TAGS, EMBEDDING, BATCH, STEPS = 17, 100, 32, 20
Step = Callable[[], object]


def drawn(count: int) -> list[list[str]]:
    """Sentences of drawn words."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(2.9, 0.65, count), 1, 120).astype(int)
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    spelled = ["".join(rng.choice(list(letters), rng.integers(2, 12))) for _ in range(20_000)]
    return [[spelled[min(word, 20_000) - 1] for word in rng.zipf(1.2, length).tolist()] for length in lengths.tolist()]


def read(path: str) -> list[list[str]]:
    """The words of a CoNLL file: the first of each line, of CoNLL-U the second."""
    found: list[list[str]] = [[]]
    for line in Path(path).read_text("utf-8").splitlines():
        fields = line.split("\t") if "\t" in line else line.split()
        if not fields:
            found.append([])
        elif not line.startswith("#"):
            found[-1].append(fields[1] if len(fields) == 10 else fields[0])
    return [sentence for sentence in found if sentence]


def make_part(sentences: Sequence[Sequence[str]], ngrams: int) -> TaggedPart:
    """The sentences, with random tags."""
    numbers: dict[str, int] = {}
    flat = [numbers.setdefault(word, len(numbers)) for sentence in sentences for word in sentence]
    ids = np.array(flat, np.uint32)
    words = Words(np.arange(2, len(numbers) + 2, dtype=np.int32), np.bincount(ids), hash_words(list(numbers), ngrams))
    offsets = np.append(0, np.cumsum([len(sentence) for sentence in sentences]))
    tags = np.random.default_rng(1).integers(0, TAGS, len(ids)).astype(np.int32)
    return TaggedPart(ids, offsets, tags, words, TagSet(tuple(map(str, range(TAGS))), "", ()))


def ours(part: TaggedPart, H: int, layers: int, ngrams: int, threads: int, *, bfloat16: bool) -> tuple[Step, Step]:
    """Some steps of training, and tagging all sentences, with this project."""
    V, buckets = len(part.words.ids) + 2, choose_buckets(part.words.parts) if ngrams else 1
    config = TaggerConfig(V, ("lstm",) * layers, H, EMBEDDING, labels=TAGS, buckets=buckets, char_ngrams=ngrams)
    network = Tagger(config, threads=threads, bfloat16=bfloat16)
    network.initialise(0)
    training = TrainingConfig(BATCH, 1, 1e-3, optimizer="adam", clip_norm=5.0)
    layout = network.layout
    optimizer = Optimizer(
        training, network.parameters, layout.segments, pool=network.context.pool, table=layout.row_table
    )
    batches = TaggedBatches(part, V, buckets, BATCH, 0)

    def train() -> None:
        for step in range(STEPS):
            network.loss(batches.batch(step))
            norm = optimizer.gradient_norm(network.gradient, network.touched)
            optimizer.update(network.gradient, norm, 1e-3, network.touched)
            network.invalidate()

    bags, sentences = WordBags(part.words.ids, part.words.parts, V, buckets), np.arange(len(part.lengths))

    def tag() -> None:
        for numbers, batch, places in evaluation_sentences(part, sentences, bags):
            network.best_tags(network.logits(batch).reshape(-1, TAGS)[places], part.lengths[numbers])

    return train, tag


def theirs(part: TaggedPart, H: int, layers: int, batches: TaggedBatches, *, by_size: bool) -> tuple[Step, Step]:
    """The same with PyTorch; `by_size`: sentences sorted by length and padded, else in random order and packed."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

    nn = torch.nn
    modules: Any = nn.ModuleDict(
        {
            "embedding": nn.Embedding(len(part.words.ids) + 2, EMBEDDING, sparse=False),
            "rnn": nn.LSTM(EMBEDDING, H, layers, bidirectional=True),
            "output": nn.Linear(2 * H, TAGS),
        }
    )
    optimizer = torch.optim.Adam(modules.parameters(), lr=1e-3, fused=True)
    ids, tags = torch.tensor(part.ids.astype(np.int64)), torch.tensor(part.tags.astype(np.int64))
    spans = list(zip(part.offsets[:-1].tolist(), part.offsets[1:].tolist(), strict=True))

    def logits(numbers: Sequence[int]) -> Any:
        lengths = [spans[n][1] - spans[n][0] for n in numbers]
        x = modules["embedding"](pad_sequence([ids[slice(*spans[n])] for n in numbers]))
        if by_size:
            return modules["output"](modules["rnn"](x)[0])
        packed = pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
        return modules["output"](modules["rnn"](packed)[0].data), packed

    def loss(numbers: Sequence[int]) -> Any:
        padded = pad_sequence([tags[slice(*spans[n])] for n in numbers], padding_value=-100)
        if by_size:
            return nn.functional.cross_entropy(logits(numbers).reshape(-1, TAGS), padded.reshape(-1))
        found, _ = logits(numbers)
        lengths = torch.tensor([spans[n][1] - spans[n][0] for n in numbers])
        return nn.functional.cross_entropy(found, pack_padded_sequence(padded, lengths, enforce_sorted=False).data)

    chosen: Iterator[list[int]]
    if by_size:
        order = np.argsort(part.lengths, kind="stable")
        rows = order[: len(order) // BATCH * BATCH].reshape(-1, BATCH)
        picked = rows[np.random.default_rng(0).permutation(len(rows))[:STEPS]].tolist()
    else:
        picked = [batches.records(step).tolist() for step in range(STEPS)]
    chosen = cycle(picked)

    def train() -> None:
        for _ in range(STEPS):
            optimizer.zero_grad(set_to_none=True)
            loss(next(chosen)).backward()
            nn.utils.clip_grad_norm_(modules.parameters(), 5.0)
            optimizer.step()

    train.words = int(part.lengths[np.array(picked)].sum())  # type: ignore[attr-defined]

    def tag() -> None:
        with torch.no_grad():
            for numbers in by_length(part.lengths, 1 << 12):
                found = logits(numbers.tolist())
                (found if by_size else found[0]).argmax(-1)

    return train, tag


def main() -> None:
    """Print the tables."""
    parser = arguments("Training and using a bidirectional tagger, in this project and in PyTorch.")
    parser.add_argument("--sentences", metavar="FILE")
    parser.add_argument("--layers", default="1,2")
    parser.add_argument("--hidden", type=int, default=200)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    sentences = read(options.sentences) if options.sentences else drawn(3000)
    words = sum(map(len, sentences))
    print(f"{describe_machine()}, PyTorch {torch.__version__}, {options.threads} threads; {words:,} words")
    parts = {ngrams: make_part(sentences, ngrams) for ngrams in (0, 4)}
    training, tagging = [], []
    for layers in map(int, options.layers.split(",")):
        made: dict[str, tuple[Step, Step]] = {}
        for ngrams, name in ((0, "words"), (4, "words and parts")):
            for bfloat16 in (False, True):
                key = f"{name}, {'bfloat16' if bfloat16 else 'float32'}"
                made[key] = ours(parts[ngrams], options.hidden, layers, ngrams, options.threads, bfloat16=bfloat16)
        batches = TaggedBatches(parts[0], 2, 1, BATCH, 0)
        peers = {"torch sorted": True, "torch packed": False}
        for name, by_size in peers.items():
            made[name] = theirs(parts[0], options.hidden, layers, batches, by_size=by_size)
        rounds = 3 if options.quick else 7
        trained = in_turns({name: sides[0] for name, sides in made.items()}, rounds)
        own = int(sum(parts[0].lengths[batches.records(step)].sum() for step in range(STEPS)))
        counts = {name: getattr(sides[0], "words", own) for name, sides in made.items()}
        speeds = {name: [count / t for t in trained[name]] for name, count in counts.items()}
        used = in_turns({name: sides[1] for name, sides in made.items()}, rounds)
        for name in made:
            versus = [ratio(speeds[name], speeds[peer]) for peer in peers]
            training.append((str(layers), name, f"{np.median(speeds[name]):,.0f}", *versus))
            versus = [ratio(used[peer], used[name]) for peer in peers]
            tagging.append((str(layers), name, f"{words / np.median(used[name]):,.0f}", *versus))
    columns = ("layers", "side", "words a second", "× sorted", "× packed")
    print_table(f"training, LSTM of {options.hidden} each way, {BATCH} sentences a batch", columns, training)
    print_table("tagging all sentences", columns, tagging)


if __name__ == "__main__":
    main()
