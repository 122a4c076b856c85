"""The same translator in PyTorch, and the figures of translations, run by the Python of `make peers`.

    .venv-peers/bin/python -m benchmarks.translate_rivals NAME request.json answer.json

Request and answer are those of benchmarks/rivals.py. Sources and targets are ids, an end (1) after each source; `test`
has with each source the most units of its output.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from benchmarks.rivals import Answer, Request, answer, similar_batches, timed
from charrnn.tasks.translate_figures import corpus_figures

DROPOUT, LEARNING_RATE, BATCH, MOST_PASSES, BEAM = 0.3, 3e-3, 64, 60, 5


def attention_lstm(request: Request) -> Answer:
    """Encoder and decoder of the sizes asked, Adam with an annealed rate, dropout, early stopping by the loss, beam."""
    import torch

    from benchmarks.torch_parts import learn
    from benchmarks.torch_translator import END, Translator, translated

    torch.manual_seed(request.seed)
    torch.set_num_threads(request.threads)
    part, held_out = request.split()
    sizes, choose = request.sizes, Random(request.seed)
    units = sizes["source_units"], sizes["target_units"]
    network = Translator(units, sizes["hidden"], sizes["embedding"], sizes["layers"], DROPOUT)
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE)
    sources = [torch.tensor(source) for source, _ in part]
    targets = [torch.tensor([*target, END]) for _, target in part]
    lengths = [1000 * len(source) + len(target) for source, target in zip(sources, targets, strict=True)]
    waiting = [torch.tensor(source) for source, _ in held_out]
    expected = [torch.tensor([*target, END]) for _, target in held_out]
    order = sorted(range(len(held_out)), key=lambda n: (len(waiting[n]), len(expected[n])))
    pieces = [order[begin : begin + 4 * BATCH] for begin in range(0, len(order), 4 * BATCH)]

    def held_out_loss() -> float:
        total = 0.0
        for some in pieces:
            loss = network.loss([waiting[n] for n in some], [expected[n] for n in some])
            total += float(loss) * sum(len(expected[n]) for n in some)
        return total / sum(map(len, expected))

    learn(
        network,
        optimizer,
        batches=lambda: similar_batches(lengths, choose, BATCH),
        loss=lambda some: network.loss([sources[n] for n in some], [targets[n] for n in some]),
        value=held_out_loss,
        left=request.left,
        passes=MOST_PASSES,
        every=-(-len(part) // BATCH),
        anneal=True,
    )

    def translate(asked: Sequence[Any]) -> list[Any]:
        texts, limits = [torch.tensor(source) for source, _ in asked], [limit for _, limit in asked]
        return translated(network, texts, limits, width=BEAM, size=BATCH)

    outputs, seconds = timed(translate, request.test)
    return Answer(f"PyTorch {torch.__version__}", outputs, {"beam": seconds})


def sacrebleu(request: Request) -> Answer:
    """BLEU and chrF of `train`: pairs of an output and its references."""
    found = corpus_figures([output for output, _ in request.train], [references for _, references in request.train])
    return Answer(f"{found['bleu_signature']}, {found['chrf_signature']}", [found["bleu"], found["chrf"]])


RIVALS: dict[str, Callable[[Request], Answer]] = {"lstm": attention_lstm, "sacrebleu": sacrebleu}


if __name__ == "__main__":
    answer(RIVALS)
