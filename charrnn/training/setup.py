"""From what was asked for to a `Task` and a model, for a new run and for one that goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from charrnn import checkpoint
from charrnn.checkpoint import Checkpoint
from charrnn.config import ModelConfig, TextConfig, TrainingConfig
from charrnn.errors import CharrnnError, UsageError
from charrnn.models import LanguageModel, resolve_precision
from charrnn.runtime.compile import user_cache_directory
from charrnn.text.corpus import Corpus, load_corpus
from charrnn.text.vocabulary import Vocabulary
from charrnn.training import defaults
from charrnn.training.defaults import BUDGETS, Options
from charrnn.training.recorded import recorded_digest, recorded_options, recorded_result, recorded_seconds
from charrnn.training.speed import arithmetic_speed
from charrnn.training.task import Task, instruction_set, versions

# What may differ when a run is resumed: how long it goes on and what is shown. All else would make it another run.
FREE_OPTIONS = (*BUDGETS, "patience", "sample_every")


@dataclass(frozen=True)
class Request:
    """What was asked for. `given` are the options of text, model and training that were given, by Python name."""

    corpora: list[str]
    output: Path
    given: Options
    val: str | None = None
    init_from: str | None = None
    threads: int = 1
    cache: Path = field(default_factory=user_cache_directory)  # where encoded corpora are kept


def prepare(request: Request, elapsed: Callable[[], float], *, samples: bool = False) -> tuple[Task, LanguageModel]:
    """A new run: read the corpus, choose what was not given, make the model. Raises CharrnnError and UsageError."""
    given, initial = dict(request.given), None
    if request.init_from is not None:
        initial = checkpoint.load(request.init_from)
        _require_same(given, _recorded(initial, names=("unit", "pretokenized")), request.init_from, "leave it out")
        given = {"unit": initial.text.unit, "pretokenized": initial.text.pretokenized} | given
    text = defaults.resolve_text(given)
    _require_effect(given, text.unit, given.get("optimizer", "adamw"), request.val, request.init_from)
    fraction = given.get("val_fraction", defaults.VAL_FRACTION)
    corpus = _read(request, text, fraction, given.get("seed", defaults.SEED), initial.vocabulary if initial else None)
    tokens = len(corpus.train.ids)

    @cache
    def speed() -> float:
        return arithmetic_speed(request.threads, given.get("precision", "auto"))

    if initial is None:
        model_config = defaults.resolve_model(given, text, len(corpus.vocabulary), tokens, speed)
    else:
        model_config = initial.model
        _require_same(given, _recorded(initial, names=MODEL_FIELDS), request.init_from or "", "leave it out")
    config = defaults.resolve_training(given, text, model_config, tokens, speed)
    if corpus.validation is None:
        config = _without_validation(config, given)
    model = make_model(model_config, config, tokens, request.threads)
    if initial is None:
        model.initialise(config.seed)
    else:
        model.load(initial.weights)
    source = {
        "corpora": request.corpora,
        "val": request.val,
        "own_vocabulary": initial is None,
        "init_from": request.init_from,
    }
    return Task(corpus, text, config, request.output, source, None, elapsed, samples), model


def _require_effect(given: Options, unit: str, optimizer: str, val: str | None, vocabulary: str | None) -> None:
    """Raise UsageError for an option that was given and changes nothing. `vocabulary` names the checkpoint that has the
    units already, if one does."""
    if "momentum" in given and optimizer != "sgd":
        raise UsageError(f"`momentum` is for `optimizer` sgd, and `optimizer` is {optimizer}; leave it out")
    if "val_fraction" in given and val is not None:
        raise UsageError(f"`val_fraction` and `val` {val} exclude each other; leave one out")
    for name in ("encoding", "errors"):
        if name in given and unit == "byte":
            raise UsageError(f"`{name}` is for text read as characters, and `unit` is byte; leave it out")
    for name in ("min_count", "max_vocab"):
        if name in given and unit == "byte":
            raise UsageError(f"`{name}` chooses among units, and `unit` byte has all 256; leave it out")
        if name in given and vocabulary is not None:
            raise UsageError(f"`{name}` chooses among units, and `init_from` {vocabulary} has its own; leave it out")


def _without_validation(config: TrainingConfig, given: Options) -> TrainingConfig:
    if given.get("patience"):
        raise UsageError("`patience` needs held-out text and there is none; leave it out, or give `val`")
    if config.schedule == "plateau":
        raise UsageError("`schedule` plateau needs held-out text and there is none; use cosine, or give `val`")
    return dataclasses.replace(config, patience=0)


def resume(
    request: Request, run: Checkpoint, elapsed: Callable[[], float], *, samples: bool = False
) -> tuple[Task, LanguageModel]:
    """Go on with `run`, the checkpoint at `request.output` read with its training state.

    Raises UsageError for an option, and CharrnnError for a corpus or a processor, that would make it another run. The
    processor may be another one where `precision` is given.
    """
    source = recorded_source(run)
    config = resumed_config(request, run)
    limit, before = config.max_time, _recorded(run).get("max_time")
    spent = recorded_seconds(run)
    if limit is not None and spent >= limit and limit != before:
        raise UsageError(f"the run has taken {spent:.0f} seconds and the limit is {limit:g}; give a larger `max_time`")
    remarks = _changed_versions(run)
    if _moved(run):
        if "precision" not in request.given:
            raise CharrnnError(
                f"cannot resume {request.output}: it was trained on {run.training.get('instruction_set')} and this is "
                f"{instruction_set()}, where sums have other last bits; `precision` {config.precision} goes on all the "
                "same, `init_from` starts a new run with its weights"
            )
        config = dataclasses.replace(config, precision=resolve_precision(request.given["precision"]))
        remarks.append("another processor: from here on this is not the run it would have been without interruption")
    corpora = request.corpora or source["corpora"]
    if not request.corpora and "-" in corpora:
        raise UsageError(
            f"the corpus of {request.output} was piped in; pipe it again: … | charrnn train - `resume` "
            f"-o {request.output}"
        )
    again = dataclasses.replace(request, corpora=corpora, val=request.val or source["val"])
    vocabulary = None if source.get("own_vocabulary", True) else run.vocabulary
    corpus = _read(again, run.text, config.val_fraction, config.seed, vocabulary)
    if corpus.digest != recorded_digest(run) or corpus.vocabulary.units != run.vocabulary.units:
        raise CharrnnError(
            f"cannot resume {request.output}: {', '.join(corpora)} is not the text it was trained on; "
            "give that one, or start a new run with `init_from`"
        )
    model = make_model(run.model, config, len(corpus.train.ids), request.threads)
    source = {**source, "corpora": corpora, "val": again.val}
    return Task(corpus, run.text, config, request.output, source, run, elapsed, samples, tuple(remarks)), model


def _moved(run: Checkpoint) -> bool:
    """Whether a run comes from a processor of another kind."""
    return bool(run.training.get("instruction_set") != instruction_set())


def _changed_versions(run: Checkpoint) -> list[str]:
    """A remark, if a package that results depend on has another version than when the run was saved."""
    recorded = run.training.get("versions")
    recorded = recorded if isinstance(recorded, dict) else {}
    changed = [f"{name} {version} in place of {recorded.get(name)}" for name, version in versions().items()
               if recorded.get(name) != version]  # fmt: skip
    if not changed:
        return []
    return [f"{', '.join(changed)}: the last bits may differ from those of a run without interruption"]


def resumed_config(request: Request, run: Checkpoint) -> TrainingConfig:
    """The recorded options with the new budgets. Raises UsageError when another option differs from its record."""
    recorded, source = _recorded(run), recorded_source(run)
    _require_effect(
        request.given,
        run.text.unit,
        str(recorded.get("optimizer")),
        request.val or source["val"],
        None if source.get("own_vocabulary", True) else str(source.get("init_from")),
    )
    may_differ = (*FREE_OPTIONS, *(("precision",) if _moved(run) else ()))
    _require_same(
        {name: value for name, value in request.given.items() if name not in may_differ},
        recorded,
        str(request.output),
        "leave it out, or start anew with `force`",
    )
    if request.val is not None and request.val != source["val"]:
        raise UsageError(f"`val` is {request.val} and the run in {request.output} has another one; leave it out")
    if request.init_from not in (None, source.get("init_from", request.init_from)):
        raise UsageError(
            f"`init_from` is {request.init_from} and the run in {request.output} began otherwise; leave it out, or "
            "start anew with `force`"
        )
    free = {name: request.given[name] for name in FREE_OPTIONS if name in request.given}
    if any(budget in free for budget in BUDGETS):  # a new budget replaces the old ones
        free = dict.fromkeys(BUDGETS) | free
    return dataclasses.replace(recorded_options(run), **free)


def finished_result(request: Request, run: Checkpoint) -> dict[str, Any] | None:
    """The result of a run that is over, unless a new budget lets it go on or another corpus is named."""
    if request.corpora and request.corpora != recorded_source(run)["corpora"]:
        return None
    result = recorded_result(run)
    if result is None or resumed_config(request, run) != recorded_options(run):
        return None
    return result | {"checkpoint": str(request.output)}  # which may have been moved


def recorded_source(run: Checkpoint) -> dict[str, Any]:
    """What the checkpoint remembers of where its text came from."""
    source = run.training.get("source", {})
    match source:
        case {"corpora": [str(), *names], "val": str() | None} if all(isinstance(name, str) for name in names):
            if isinstance(source.get("init_from"), str | None) and type(source.get("own_vocabulary", True)) is bool:
                return dict(source)
    raise CharrnnError(
        "cannot resume: the checkpoint does not say what it was trained on; `init_from` takes its weights"
    )


def make_model(
    config: ModelConfig, training: TrainingConfig, tokens: int, threads: int
) -> LanguageModel:  # fmt: skip
    """A network to train on that many `tokens`.

    Raises CharrnnError when the machine cannot hold it.
    """
    defaults.require_memory_to_train(config, training, tokens)
    bfloat16 = training.precision == "bfloat16"
    return LanguageModel(config, threads=threads, bfloat16=bfloat16)


MODEL_FIELDS = tuple(f.name for f in dataclasses.fields(ModelConfig) if f.name != "vocabulary_size")


def _recorded(run: Checkpoint, names: tuple[str, ...] | None = None) -> dict[str, Any]:
    """The options in a checkpoint (only those named), the cells as `cell` and `layers` give them."""
    everything = dataclasses.asdict(run.text) | dataclasses.asdict(run.model)
    if names is None:
        return everything | dataclasses.asdict(recorded_options(run))
    return {name: everything[name] for name in names}


def _require_same(given: Options, recorded: Options, file: str, advice: str) -> None:
    """Raise UsageError when a given option is not what `recorded` has; options it does not have are not compared."""
    given = dict(given)
    if "cells" in recorded:
        cells = tuple(recorded["cells"])
        wanted = given.pop("cell", cells)
        layers = given.pop("layers", len(wanted) if len(wanted) > 1 else len(cells))
        if tuple(wanted * layers if len(wanted) == 1 else wanted) != cells or layers != len(cells):
            raise UsageError(
                f"`cell` {','.join(wanted)} and `layers` {layers} differ from {','.join(cells)} in {file}; {advice}"
            )
    for name in ("precision", "cutoffs"):
        if given.get(name) == "auto":
            del given[name]
    if given.get("cutoffs") == "none":
        given["cutoffs"] = ()
    for name, value in given.items():
        if name in recorded and value != recorded[name]:
            raise UsageError(f"`{name}` is {typed(value)} and {file} has {typed(recorded[name])}; {advice}")


def typed(value: Any) -> str:
    """The value of an option as it is typed."""
    return (",".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)


def _read(request: Request, text: TextConfig, fraction: float, seed: int, vocabulary: Vocabulary | None) -> Corpus:
    return load_corpus(
        request.corpora,
        text,
        val_path=request.val,
        val_fraction=fraction,
        seed=seed,
        cache_dir=request.cache,
        vocabulary=vocabulary,
    )
