"""Until the callers ask the network itself."""

from charrnn.config import ModelConfig
from charrnn.models.language import make_blocks, parameter_layout


def gate_count(config: ModelConfig, layer: int) -> int:
    return make_blocks(config)[1][layer].G // config.hidden_size


def parameter_count(config: ModelConfig) -> int:
    return parameter_layout(config).size


def tensor_shapes(config: ModelConfig):
    return parameter_layout(config).tensor_shapes()


def parameter_shapes(config):
    return {p.name: p.shape for p in parameter_layout(config).parameters}
