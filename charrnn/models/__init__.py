"""Networks put together from the blocks of `nn/`: arrays in, arrays out, no text."""

from charrnn.models.language import LanguageModel

__all__ = ["LanguageModel"]
