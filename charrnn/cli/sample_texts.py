"""`charrnn sample` of a translator: outputs of sources or labels, drawn from their distribution."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from charrnn.cli import streams
from charrnn.cli.predict_texts import warn_of_cut
from charrnn.config import SamplingConfig
from charrnn.settings import listed
from charrnn.tasks.trained_translator import TrainedTranslator
from charrnn.text.vocabulary import UNKNOWN


def write(
    model: TrainedTranslator, prompts: Iterable[list[bytes]], config: SamplingConfig, *, count: int, format: str,
    delimiter: bytes,
) -> bool:  # fmt: skip
    """Write `count` outputs of each source; whether there was a source."""
    found = cut = unknown = False
    with streams.Output() as out:
        for some in prompts:
            found = found or bool(some)
            unknown = unknown or _warn_unknown(model, some)
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


def _warn_unknown(model: TrainedTranslator, prompts: Sequence[bytes]) -> bool:
    """Whether a source has units that the model does not know, of which there is a warning; labels are refused."""
    if model.labels:
        return False
    unknown = dict.fromkeys(
        unit
        for prompt in prompts
        for unit, number in zip(model.source_units(prompt), model.source_ids(prompt).tolist(), strict=True)
        if number == UNKNOWN
    )
    if unknown:
        shown = listed([*map(repr, unknown)], 5)
        streams.warn(f"the prompt has units that the model does not know: {shown}; read as the unknown token")
    return bool(unknown)
