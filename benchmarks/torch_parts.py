"""Parts of the rivals' networks in PyTorch, and how they are trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from math import cos, pi
from typing import Any

import torch
from torch import nn

CLIP_NORM, PATIENCE = 1.0, 5


def padded(sequences: Sequence[Any]) -> tuple[Any, Any]:
    """Sequences of ids as an array (N, T) with zeros after their ends, and their lengths (N)."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    return nn.utils.rnn.pad_sequence(list(sequences), batch_first=True), lengths


def real_steps(lengths: Any) -> Any:
    """Which steps (N, T) of padded sequences are no padding."""
    return torch.arange(int(lengths.max())) < lengths[:, None]


class BothDirections(nn.Module):  # type: ignore[misc]
    """A bidirectional LSTM over padded sequences.

    The backward direction is an LSTM of its own over each sequence reversed: what packed sequences compute, in a
    quarter of the time.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.forwards = nn.LSTM(inputs, hidden, batch_first=True)
        self.backwards = nn.LSTM(inputs, hidden, batch_first=True)

    def forward(self, inputs: Any, lengths: Any) -> Any:
        """inputs (N, T, I), lengths (N); returns (N, T, 2H)."""
        mirror = (lengths[:, None] - 1 - torch.arange(inputs.shape[1])).clamp(min=0)[:, :, None]

        def turned(values: Any) -> Any:
            return values.gather(1, mirror.expand(-1, -1, values.shape[2]))

        return torch.cat([self.forwards(inputs)[0], turned(self.backwards(turned(inputs))[0])], dim=2)


def last_states(outputs: Any, lengths: Any) -> Any:
    """The last state of each direction (N, 2H), of the outputs (N, T, 2H) of `BothDirections`."""
    hidden = outputs.shape[2] // 2
    return torch.cat([outputs[torch.arange(len(outputs)), lengths - 1, :hidden], outputs[:, 0, hidden:]], dim=1)


def learn(
    network: Any,
    optimizer: Any,
    *,
    batches: Callable[[], Sequence[Any]],
    loss: Callable[[Any], Any],
    value: Callable[[], float],
    left: Callable[[], float],
    passes: int,
    every: int,
    anneal: bool = False,
) -> None:
    """Train for some passes of `every` batches, `batches()`, or until the time `left()` is over, or `value()`, computed
    after each pass, was not less `PATIENCE` times in a row. The weights with the least value stay.

    `anneal`: the learning rate falls to zero along half a cosine, over the passes or the time, whichever is over first,
    and nothing else ends the training.
    """
    least, waited, kept = float("inf"), 0, network.state_dict()
    rates, whole = [group["lr"] for group in optimizer.param_groups], left()

    def goes_on() -> bool:
        nonlocal least, waited, kept
        network.eval()
        with torch.inference_mode():
            found = value()
        network.train()
        if found < least:
            least, waited = found, 0
            kept = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        else:
            waited += 1
        return (waited < PATIENCE or anneal) and left() > 0

    network.train()
    for done, batch in enumerate(chain.from_iterable(batches() for _ in range(passes)), 1):
        if anneal:
            share = min(1.0, max(done / (passes * every), 1 - left() / whole))
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * (1 + cos(pi * share)) / 2
        optimizer.zero_grad()
        loss(batch).backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
        optimizer.step()
        if (done % every == 0 or left() < 0) and not goes_on():
            break
    network.load_state_dict(kept)
    network.eval()
