"""Long-range dependencies in RNN, GRU and LSTM: subject-verb agreement over distance, and vanishing gradients.

    python -m benchmarks.long_range [--quick] [--steps N] [--task language|classify]

Three networks of one layer learn, by characters and with everything else alike, sentences of the grammar in
corpora/agreement.py, whose entropy is known. Backpropagation through time is truncated at 128 characters, longer than
nearly all sentences. Agreement as a test: Linzen, Dupoux and Goldberg 2016, doi:10.1162/tacl_a_00115; vanishing
gradients: Bengio, Simard and Frasconi 1994, doi:10.1109/72.279181. Many to one: long_range_labels.py.
"""

from __future__ import annotations

import importlib.util
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import long_range_labels
from benchmarks.common import arguments, describe_machine, print_table
from charrnn import checkpoint
from charrnn.models import LanguageModel
from charrnn.tasks.language import TASK
from charrnn.text import EOS, Vocabulary
from charrnn.training.clock import stopwatch
from charrnn.training.loop import train
from charrnn.training.setup import prepare
from charrnn.training.task import Request

CELLS, HIDDEN, STEPS, QUICK_STEPS = ("rnn", "gru", "lstm"), 128, 6000, 700
BATCH, SEQ_LENGTH, CHARACTERS = 32, 128, 49  # the last: of a sentence, about
DISTANCES = ((1, 1), (2, 4), (5, 8), (9, 13), (14, 20))  # words from subject to verb
BACK = (1, 2, 4, 8, 16, 32, 64)  # steps
ROWS = 256  # texts scored in a batch
Array = NDArray[np.float64]
Backward = Callable[[Array, Array], tuple[Array, Array]]


def load_grammar() -> Any:
    """corpora/agreement.py as a module: the folder is not a package."""
    path = Path(__file__).parent.parent / "corpora" / "agreement.py"
    spec = importlib.util.spec_from_file_location("agreement", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Question:
    """Up to a verb: the text with the right form, that with the wrong one (both with the character that follows the
    verb), the distance from subject to verb in words, and whether the last noun before the verb has its number."""

    right: str
    wrong: str
    words: int
    nearest: bool

    @property
    def decided(self) -> int:
        """Where the two texts differ first."""
        return next(n for n, (a, b) in enumerate(zip(self.right, self.wrong, strict=False)) if a != b)


def ask(grammar: Any, sentence: str) -> list[Question]:
    """A question for each verb of a sentence."""
    words = sentence.split()
    number = {
        noun: name for name in ("singular", "plural") for noun in grammar.LEXICON[f"noun {name}"]
    }  # of each noun of the lexicon
    questions = []
    for agreement in grammar.agreements(sentence):
        before, verb = words[: agreement.verb], words[agreement.verb]
        end = " " if agreement.verb + 1 < len(words) else "\n"
        last = next(word for word in reversed(before) if word in number)
        right, wrong = (" ".join([*before, form]) + end for form in (verb, grammar.other_number(verb)))
        same = number[last] == number[words[agreement.subject]]
        questions.append(Question(right, wrong, agreement.distance, same))
    return questions


def learn(cell: str, corpus: Path, steps: int, threads: int) -> tuple[LanguageModel, LanguageModel, Vocabulary]:
    """A network before and after training, and the vocabulary."""
    given = {
        **{"cell": (cell,), "layers": 1, "hidden_size": HIDDEN, "lines": True, "steps": steps, "val_fraction": 0.0},
        **{"dropout": 0.0, "batch_size": BATCH, "seq_length": SEQ_LENGTH, "precision": "float32"},
        "weight_decay": 0.01,  # a sentence is hardly ever read twice, so there is no overfitting
    }
    output = corpus.with_name(f"{cell}.safetensors")
    request = Request([str(corpus)], output, given, threads=threads, cache=corpus.parent)
    spec, network = prepare(TASK, request, stopwatch())
    assert isinstance(network, LanguageModel)
    before = LanguageModel(network.config)
    before.initialise(spec.config.seed)
    for _ in train(spec, network):
        pass
    return before, network, checkpoint.load(output).vocabulary


def log_probs(model: LanguageModel, vocabulary: Vocabulary, texts: Sequence[str]) -> Array:
    """log P of each text, natural, from the start of a line."""
    found: Array = np.empty(len(texts))
    order = sorted(range(len(texts)), key=lambda n: len(texts[n]))
    for first in range(0, len(texts), ROWS):
        chosen = order[first : first + ROWS]
        T = len(texts[chosen[-1]])
        targets = np.full((T, len(chosen)), EOS, np.int32)
        for row, n in enumerate(chosen):
            targets[: len(texts[n]), row] = vocabulary.encode(texts[n])
        inputs = np.concatenate([np.full((1, len(chosen)), EOS, np.int32), targets[:-1]])
        each = model.log_probs(inputs, targets, model.zero_state(len(chosen)))
        counted = np.arange(T)[:, None] < [len(texts[n]) for n in chosen]
        found[chosen] = np.sum(each, axis=0, where=counted)
    return found


# Gradients of past hidden states, in NumPy and float64: the kernels do not store them for each step


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def step(cell: str, x: Array, h: Array, c: Array, U: Array, b_hn: Array) -> tuple[Array, Array, Backward]:
    """One step: h and c (B, H) after it, and the function from their gradients to those of h and c before it.

    LSTM: Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735, with the forget gate of Gers, Schmidhuber and
    Cummins 2000, doi:10.1162/089976600300015015. GRU: Cho et al. 2014, arXiv:1406.1078, in the form of PyTorch.

    x (B, G): the input's part of the gates, in PyTorch's order; U (H, G); b_hn (H): the GRU's bias within the reset.
    """
    a = h @ U
    if cell == "lstm":
        i, f, g, o = np.split(x + a, 4, axis=1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        c_after = f * c + i * g
        squashed = np.tanh(c_after)

        def back_lstm(dh: Array, dc: Array) -> tuple[Array, Array]:
            dc = dc + dh * o * (1 - squashed**2)
            da = [dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g**2), dh * squashed * o * (1 - o)]
            return np.concatenate(da, axis=1) @ U.T, dc * f

        return o * squashed, c_after, back_lstm
    if cell == "gru":
        (x_r, x_z, x_n), (a_r, a_z, a_n) = np.split(x, 3, axis=1), np.split(a, 3, axis=1)
        r, z, u = sigmoid(x_r + a_r), sigmoid(x_z + a_z), a_n + b_hn
        n = np.tanh(x_n + r * u)

        def back_gru(dh: Array, dc: Array) -> tuple[Array, Array]:
            dn = dh * (1 - z) * (1 - n**2)
            da = [dn * u * r * (1 - r), dh * (h - n) * z * (1 - z), dn * r]
            return np.concatenate(da, axis=1) @ U.T + dh * z, dc

        return (1 - z) * n + z * h, c, back_gru
    after = np.tanh(x + a)
    return after, c, lambda dh, dc: ((dh * (1 - after**2)) @ U.T, dc)


def gradients_back(model: LanguageModel, ids: NDArray[np.int32], targets: NDArray[np.int32], steps: int) -> Array:
    """The gradients of the loss after the last of ids (T, B), -log P(targets (B)), with respect to the states before.

    Returns (steps + 1, 2, B, H): those of h and of the LSTM's c, k steps before the last for k = 0, 1, …, by
    backpropagation through time. The state is reset at an end of line, as in training.
    """
    cell = model.config.cells[0]
    weights = {name: tensor.astype(np.float64) for name, tensor in model.tensors().items()}
    U, b_hh = weights["rnn.weight_hh_l0"].T, weights["rnn.bias_hh_l0"].copy()
    H, b_hn = U.shape[0], b_hh[-U.shape[0] :].copy()
    if cell == "gru":
        b_hh[-H:] = 0
    table = weights["embedding.weight"] @ weights["rnn.weight_ih_l0"].T + weights["rnn.bias_ih_l0"] + b_hh
    h = c = np.zeros((ids.shape[1], H))
    backward_steps: list[Backward] = []
    for units in ids:
        not_reset = (units != EOS)[:, None]
        h, c, backward = step(cell, table[units], h * not_reset, c * not_reset, U, b_hn)
        backward_steps.append(backward)
    logits = h @ weights["output.weight"].T + weights["output.bias"]
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(targets)), targets] -= 1
    dh, dc = p @ weights["output.weight"], np.zeros_like(c)
    found = [np.stack([dh, dc])]
    for backward, units in zip(backward_steps[: -steps - 1 : -1], ids[::-1], strict=False):
        not_reset = (units != EOS)[:, None]
        dh, dc = backward(dh, dc)
        dh, dc = dh * not_reset, dc * not_reset
        found.append(np.stack([dh, dc]))
    return np.stack(found)


def gradient_norms(model: LanguageModel, vocabulary: Vocabulary, questions: Sequence[Question]) -> Array:
    """The norms (BACK, 2) of the gradients of h and c, k steps before a verb is decided, relative to the last h.

    The loss is that of the first character which the verb's two forms do not share. Medians over the questions.
    """
    T = max(question.decided for question in questions) + 1
    ids = np.full((T, len(questions)), EOS, np.int32)  # right-aligned; the state is reset at the last EOS
    targets = np.empty(len(questions), np.int32)
    for row, question in enumerate(questions):
        units = vocabulary.encode(question.right)
        ids[T - question.decided :, row], targets[row] = units[: question.decided], units[question.decided]
    norms = np.linalg.norm(gradients_back(model, ids, targets, BACK[-1]), axis=-1)
    medians: Array = np.median((norms / norms[0, 0])[list(BACK)], axis=-1)
    return medians


def main() -> None:
    """Print the tables."""
    parser = arguments("Long-range dependencies in RNN, GRU and LSTM.")
    parser.add_argument("--steps", type=int, help="of training (default: some thousands, by task; fewer with --quick)")
    parser.add_argument("--task", choices=("language", "classify"), help="one of them (default: both)")
    options = parser.parse_args()
    if options.task != "classify":
        predict_verbs(options.steps or (QUICK_STEPS if options.quick else STEPS), options.threads, quick=options.quick)
    if options.task != "language":
        label_beginnings(options.steps, options.threads, quick=options.quick)


def label_beginnings(steps: int | None, threads: int, *, quick: bool) -> None:
    """Print the table of the task classify."""
    steps = steps or (long_range_labels.QUICK_STEPS if quick else long_range_labels.STEPS)
    hidden, batch = long_range_labels.HIDDEN, long_range_labels.BATCH
    print(f"{describe_machine()}; {steps} steps of {batch} beginnings of sentences, one layer of {hidden}")
    with tempfile.TemporaryDirectory() as folder:
        columns, rows = long_range_labels.many_to_one(load_grammar(), Path(folder), steps, threads, quick=quick)
    print_table("numbers of main verbs that are right, by words after the subject", columns, rows)


def predict_verbs(steps: int, threads: int, *, quick: bool) -> None:
    """Print the tables of the task language."""
    grammar = load_grammar()
    rules, generator = grammar.build(), random.Random(1)
    sampled = [grammar.sample(rules, generator) for _ in range(1000 if quick else 5000)]
    tested = [" ".join(words) + "\n" for words, _ in sampled]
    # The entropy of these sentences themselves, so that the result depends little on which are drawn.
    entropy = sum(bits for _, bits in sampled) / sum(map(len, tested))
    questions = [question for line in tested for question in ask(grammar, line)]
    far = [question for question in questions if question.decided > BACK[-1]][:500]
    print(f"{describe_machine()}; {steps} steps of {BATCH} x {SEQ_LENGTH} characters, one layer of {HIDDEN}")
    rows: list[list[str]] = []
    right: dict[str, NDArray[np.bool_]] = {}
    norms: dict[str, list[Array]] = {}
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "agreement.txt"
        count = max(1000, min(100_000, steps * BATCH * SEQ_LENGTH // CHARACTERS // 2))  # each is read twice
        corpus.write_text("".join(" ".join(grammar.sample(rules, generator)[0]) + "\n" for _ in range(count)))
        for cell in CELLS:
            before, model, vocabulary = learn(cell, corpus, steps, threads)
            bits = -log_probs(model, vocabulary, tested).sum() / np.log(2) / sum(map(len, tested))
            rows.append([cell, f"{model.parameters.size:,}", f"{bits:.4f}", f"{entropy:.4f}", f"{bits - entropy:.4f}"])
            asked = [text for question in questions for text in (question.right, question.wrong)]
            pairs = log_probs(model, vocabulary, asked).reshape(-1, 2)
            right[cell] = pairs[:, 0] > pairs[:, 1]
            norms[cell] = [gradient_norms(network, vocabulary, far) for network in (before, model)]
    exact = grammar.entropy(rules).bits_per_character
    print_table(
        f"bits per character of new sentences (of the grammar: {exact:.4f})",
        ("cell", "parameters", "model", "best possible", "more"),
        rows,
    )
    words = np.array([question.words for question in questions])
    nearest = np.array([question.nearest for question in questions])
    rows = []
    for low, high in DISTANCES:
        chosen = (low <= words) & (words <= high)
        shares = [f"{share[chosen].mean():.1%}" if chosen.any() else "-" for share in (*right.values(), nearest)]
        rows.append([f"{low}-{high}" if low < high else f"{low}", f"{chosen.sum():,}", *shares])
    print_table("verbs that agree, by words after the subject", ("words", "verbs", *CELLS, "like last noun"), rows)
    columns = [(cell, 0, cell) for cell in CELLS] + [("lstm", 1, "lstm, c")]
    for when, title in enumerate(("before training", "after training")):
        rows = [
            [str(k), *(f"{norms[cell][when][n, part]:.2g}" for cell, part, _ in columns)] for n, k in enumerate(BACK)
        ]
        print_table(
            f"gradient of the loss with respect to h, k steps before; at the last step 1 ({title}, {len(far)} verbs)",
            ("k", *(name for _, _, name in columns)),
            rows,
        )


if __name__ == "__main__":
    main()
