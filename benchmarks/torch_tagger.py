"""The tagger that benchmarks/tag_rivals.py trains: words, their characters, both directions, a field of tags."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from benchmarks.tag_rivals import CHARACTER_HIDDEN, CHARACTER_VECTOR, DROPOUT, HIDDEN, PADDING, WORD_VECTOR
from benchmarks.torch_parts import BothDirections, last_states, padded, real_steps


class Tagger(nn.Module):  # type: ignore[misc]
    """Sentences are (2, words) each: numbers of words, and of their spellings among those of the batch."""

    def __init__(self, words: int, letters: int, labels: int, *, fields: bool) -> None:
        super().__init__()
        self.words = nn.Embedding(words, WORD_VECTOR, padding_idx=PADDING)
        self.letters = nn.Embedding(letters, CHARACTER_VECTOR, padding_idx=PADDING)
        self.spelling = BothDirections(CHARACTER_VECTOR, CHARACTER_HIDDEN)
        self.rnn = BothDirections(WORD_VECTOR + 2 * CHARACTER_HIDDEN, HIDDEN)
        self.dropout = nn.Dropout(DROPOUT)
        self.output = nn.Linear(2 * HIDDEN, labels)
        self.field = Field(labels) if fields else None

    def logits(self, sentences: list[Any], spellings: list[Any]) -> tuple[Any, Any]:
        """Logits (N, T, L), and which steps are no padding."""
        letters, sizes = padded(spellings)
        spelled = last_states(self.spelling(self.letters(letters), sizes), sizes)
        words, lengths = padded([sentence[0] for sentence in sentences])
        places, _ = padded([sentence[1] for sentence in sentences])
        inputs = self.dropout(torch.cat([self.words(words), spelled[places]], dim=2))
        return self.output(self.dropout(self.rnn(inputs, lengths))), real_steps(lengths)

    def loss(self, sentences: list[Any], spellings: list[Any], tags: list[Any]) -> Any:
        """The mean of -log P(tags | words) over tokens."""
        logits, real = self.logits(sentences, spellings)
        true, _ = padded(tags)
        if self.field is None:
            return nn.functional.cross_entropy(logits[real], true[real])
        return -self.field.log_probs(logits, real, true).sum() / real.sum()

    def best(self, sentences: list[Any], spellings: list[Any]) -> list[list[int]]:
        """The most probable tags of each sentence."""
        logits, real = self.logits(sentences, spellings)
        found = logits.argmax(dim=2) if self.field is None else self.field.best(logits, real)
        return [row[:length].tolist() for row, length in zip(found, real.sum(dim=1).tolist(), strict=True)]


class Field(nn.Module):  # type: ignore[misc]
    """A linear-chain conditional random field (Lafferty, McCallum and Pereira 2001) over padded logits (N, T, L)."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.transitions = nn.Parameter(torch.zeros(labels, labels))  # from, to
        self.first = nn.Parameter(torch.zeros(labels))
        self.last = nn.Parameter(torch.zeros(labels))

    def log_probs(self, logits: Any, real: Any, tags: Any) -> Any:
        """log P(tags | words) of each sentence (N)."""
        total = self.first + logits[:, 0]
        for step in range(1, logits.shape[1]):
            after = torch.logsumexp(total[:, :, None] + self.transitions, dim=1) + logits[:, step]
            total = torch.where(real[:, step, None], after, total)
        chosen = (logits.gather(2, tags[:, :, None])[:, :, 0] * real).sum(dim=1)
        moves = (self.transitions[tags[:, :-1], tags[:, 1:]] * real[:, 1:]).sum(dim=1)
        final = tags.gather(1, real.sum(dim=1, keepdim=True) - 1)[:, 0]
        ends = self.first[tags[:, 0]] + self.last[final]
        return chosen + moves + ends - torch.logsumexp(total + self.last, dim=1)

    def best(self, logits: Any, real: Any) -> Any:
        """The most probable tags (N, T), by Viterbi's algorithm."""
        total, came_from = self.first + logits[:, 0], []
        here = torch.arange(logits.shape[2]).expand(len(logits), -1)
        for step in range(1, logits.shape[1]):
            after, before = (total[:, :, None] + self.transitions).max(dim=1)
            total = torch.where(real[:, step, None], after + logits[:, step], total)
            came_from.append(torch.where(real[:, step, None], before, here))
        tags = [(total + self.last).argmax(dim=1)]
        for before in reversed(came_from):
            tags.append(before.gather(1, tags[-1][:, None])[:, 0])
        return torch.stack(tags[::-1], dim=1)
