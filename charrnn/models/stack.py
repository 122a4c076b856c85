"""The parts that networks of records have in common: stacks of layers, and logits without a gradient.

Letters in shapes as in `nn/block.py`; L is the number of labels.
"""

from __future__ import annotations

from typing import Any

from charrnn.models.network import Network
from charrnn.nn.bidirectional import Bidirectional
from charrnn.nn.block import Block
from charrnn.nn.cells import layer_class
from charrnn.nn.dense import Dense
from charrnn.nn.softmax import Softmax
from charrnn.runtime.arrays import Array
from charrnn.runtime.threads import Job, in_sequence
from charrnn.text.batch import Batch


def recurrent_stack(
    config: Any, width: int, *, bidirectional: bool, one_hot: bool = False, part: str = ""
) -> tuple[list[Block], int]:  # fmt: skip
    """The recurrent layers of `config`, a `RecurrentConfig`, over inputs of width E, and the width of their output.

    `one_hot`: the first layer reads ids, and E is the size of the vocabulary. `part`: what their names begin with.
    """
    blocks: list[Block] = []
    for index, cell in enumerate(config.cells):
        make, ids = layer_class(cell), one_hot and not index
        layer = make(config, index, width, one_hot=ids, part=part)
        if bidirectional:
            blocks.append(Bidirectional(layer, make(config, index, width, one_hot=ids, reverse=True, part=part)))
        else:
            blocks.append(layer)
        width = 2 * config.hidden_size if bidirectional else config.hidden_size
    return blocks, width


def dense_stack(sizes: tuple[int, ...], width: int) -> tuple[list[Block], int]:
    """Fully connected layers of these widths over inputs of width E, and the width of their output."""
    blocks: list[Block] = []
    for index, size in enumerate(sizes):
        blocks.append(Dense(index, width, size))
        width = size
    return blocks, width


def compute_logits(network: Network, head: Softmax, batch: Batch) -> Array:
    """A copy of the logits (K, B, L) of all outputs of a batch, from zero states; `head` is that of `network`.

    Raises:
        CharrnnError: the batch does not fit, see `Network.check`.
    """
    with network.lock:
        K, B = batch.targets.shape
        state = Network.zero_state(network, B)
        network.check(batch, state)
        network.pack()
        window, hidden = network.open_window(batch)
        network.begin(window, batch, state)
        logits = network.context.workspace.get("logits", K, B, head.V)
        network.context.pool.run([Job(B, 1, in_sequence(network.forward_rows, head.logits_rows(hidden, logits)))])
        return logits.copy()
