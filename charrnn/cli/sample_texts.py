"""`charrnn sample` of a translator: outputs of sources or labels, drawn from their distribution."""

from __future__ import annotations

from collections.abc import Iterable

from charrnn.cli import streams
from charrnn.cli.predict_texts import warn_of_cut, warn_of_unknown
from charrnn.sampling_config import SamplingConfig
from charrnn.tasks.trained_translator import TrainedTranslator


def write(
    model: TrainedTranslator, prompts: Iterable[list[bytes]], config: SamplingConfig, *, count: int, format: str,
    delimiter: bytes,
) -> bool:  # fmt: skip
    """Write `count` outputs of each source; whether there was a source."""
    found = cut = unknown = False
    with streams.Output() as out:
        for some in prompts:
            found = found or bool(some)
            unknown = unknown or warn_of_unknown(model, some, "the prompt")
            for outputs in model.draw(some, config, count):
                cut = cut or (config.length is None and warn_of_cut((one.units, one.ended) for one in outputs))
                for output in outputs:
                    if format == "jsonl":
                        out.show_json({
                            "prompt": some[output.source].decode("utf-8", "replace"),
                            "text": output.data.decode("utf-8", "replace"), "index": output.number, "seed": config.seed,
                            "tokens": output.units + output.ended, "stopped_by": "line" if output.ended else "length",
                        })  # fmt: skip
                    else:
                        out.show(output.data + (b"" if delimiter and output.data.endswith(delimiter) else delimiter))
            out.flush()
    return found
