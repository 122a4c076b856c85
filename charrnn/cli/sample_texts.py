"""`charrnn sample` of a translator: outputs of sources or labels, drawn from their distribution."""

from __future__ import annotations

import json
from collections.abc import Iterable

from charrnn.cli import streams
from charrnn.cli.predict_texts import warn_of_cut
from charrnn.cli.visible import visible
from charrnn.config import SamplingConfig
from charrnn.tasks.trained_translator import TrainedTranslator


def write(
    model: TrainedTranslator, prompts: Iterable[list[bytes]], config: SamplingConfig, *, count: int, format: str,
    delimiter: bytes,
) -> bool:  # fmt: skip
    """Write `count` outputs of each source; whether there was a source."""
    found = warned = False
    with streams.Output() as out:
        for some in prompts:
            found = found or bool(some)
            for prompt, outputs in zip(some, model.draw(some, config, count), strict=True):
                ends = [(one.units, one.ended) for one in outputs]
                warned = warned or (config.length is None and warn_of_cut(ends))
                for index, output in enumerate(outputs):
                    text = output.data.decode("utf-8", "replace")
                    data = output.data + (b"" if delimiter and output.data.endswith(delimiter) else delimiter)
                    if format == "jsonl":
                        record = {
                            "prompt": prompt.decode("utf-8", "replace"), "text": text, "index": index,
                            "seed": config.seed, "tokens": output.units + output.ended,
                            "stopped_by": "line" if output.ended else "length",
                        }  # fmt: skip
                        data = streams.encode(json.dumps(record, ensure_ascii=False) + "\n")
                    out.write(visible(data.decode("utf-8", "replace"), keep="\t\n") if out.terminal else data)
            out.flush()
    return found
