"""The training loop: a generator of events that prints nothing.

One step is a batch, its gradient by truncated backpropagation through time (Williams and Peng 1990,
doi:10.1162/neco.1990.2.4.490), and an update of the weights. Everything but a time limit is a function of the step: a
run that is killed and resumed ends with the same bits.
"""

from __future__ import annotations

from collections.abc import Generator

from charrnn import checkpoint
from charrnn.runtime.interrupts import uninterrupted
from charrnn.training import events
from charrnn.training.run import Run
from charrnn.training.task import Network, RunSpec


def train(spec: RunSpec, network: Network) -> Generator[events.Event]:
    """Train `network` and save checkpoints to `spec.output`; yields the events of the run, the last an `End`.

    The weights must be initialised; those of a resumed run are restored here. A KeyboardInterrupt saves the state
    reached, yields `Saved` and is raised again.

    Raises:
        DivergedError: loss, gradient or weights were not finite `run.MAX_DIVERGENCES` times.
        CharrnnError: the checkpoint cannot be written, or does not fit the run.
    """
    if spec.processes.rank == 0:
        checkpoint.check_writable(spec.output)
    spec.task.format.describe(network.config, spec.task.record(spec.dataset))  # raises what `save` would, much later
    run = Run(spec, network)
    # One process raises a KeyboardInterrupt wherever the signal comes, many where they meet before a step.
    if spec.processes.size == 1:
        yield from _follow(run, [])
        return
    with uninterrupted() as received:
        yield from _follow(run, received)


def _follow(run: Run, received: list[int]) -> Generator[events.Event]:
    """The events of a run; `received` are signals that wait for all processes to meet."""
    try:
        yield from run.prepare()
        while True:
            run.agree(received)
            reason = run.finished()
            if run.validation_due(last=reason is not None):
                yield from run.validate(last=reason is not None)
            elif reason is not None:
                break
            elif run.keeper.due():
                yield run.save()
            else:
                yield from run.step()
        yield from run.finish(reason)
    except KeyboardInterrupt:
        yield from run.save_on_interrupt()
        raise
