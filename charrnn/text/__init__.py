"""Text: units, vocabularies, encoded corpora and batches. Imports no networks."""

from charrnn.text.batch import Batch
from charrnn.text.batches import Batches
from charrnn.text.corpus import Corpus, Part, load_corpus
from charrnn.text.fallback import Fallback
from charrnn.text.vocabulary import EOS, UNKNOWN, Decoder, Vocabulary

__all__ = [
    "EOS",
    "UNKNOWN",
    "Batch",
    "Batches",
    "Corpus",
    "Decoder",
    "Fallback",
    "Part",
    "Vocabulary",
    "load_corpus",
]
