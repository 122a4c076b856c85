#!/usr/bin/env python3
"""Sentences from a small probabilistic grammar, whose verbs agree in number with a subject up to 20 words before them.

    python3 corpora/agreement.py --sentences 100000 --seed 1 -o agreement.txt
    python3 corpora/agreement.py --labels -o number.tsv (or --tags -o tags.conll)
    python3 corpora/agreement.py --entropy

A language model has to carry the number of the first noun across prepositional phrases and relative clauses full of
nouns of the other number ("the old and grey king near our horses that the dogs follow sleeps"). The entropy of the
grammar is known exactly, so the distance of a model from the best one possible is known too. With --labels a line is
`singular` or `plural`, a TAB, and a sentence before its main verb, whose number that is, certain from its subject. With
--tags it is a word, a TAB and its part of speech, of determiners with the number of the noun after them.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

# A production is a probability and the symbols it is replaced by; a symbol that is not a key of the grammar is a word.
Production = tuple[Fraction, tuple[str, ...]]
Grammar = Mapping[str, Sequence[Production]]

# Word classes, the commonest word first. No word is in two classes: `build` checks it.
LEXICON: dict[str, tuple[str, ...]] = {
    "determiner": ("the", "our", "some", "their"),
    "preposition": ("near", "behind", "with", "under", "beside", "above"),
    "quality": ("old", "small", "happy", "quiet", "strange", "clever", "tired", "brave"),
    "colour": ("red", "grey", "green", "brown", "white"),
    "adverb": ("today", "again", "slowly", "often"),
    "noun singular": ("dog", "king", "child", "horse", "doctor", "bird", "sailor", "farmer", "friend", "mouse"),
    "noun plural": ("dogs", "kings", "children", "horses", "doctors", "birds", "sailors", "farmers", "friends", "mice"),
    "transitive singular": ("sees", "likes", "follows", "hears", "finds", "helps"),
    "transitive plural": ("see", "like", "follow", "hear", "find", "help"),
    "intransitive singular": ("sleeps", "waits", "falls", "sings", "moves", "returns"),
    "intransitive plural": ("sleep", "wait", "fall", "sing", "move", "return"),
    "copula singular": ("is", "was", "seems"),
    "copula plural": ("are", "were", "seem"),
}
NUMBERS = ("singular", "plural")
PARTS_OF_SPEECH = {
    "determiner": "DET", "preposition": "ADP", "quality": "ADJ", "colour": "ADJ", "adverb": "ADV", "noun": "NOUN",
    "transitive": "VERB", "intransitive": "VERB", "copula": "AUX", "and": "CCONJ", "that": "SCONJ",
}  # fmt: skip


def weighted(*choices: tuple[int, str]) -> list[Production]:
    """Productions from (weight, "symbols separated by +") pairs; an empty text is the empty production."""
    total = sum(weight for weight, _ in choices)
    return [(Fraction(weight, total), tuple(part for part in text.split("+") if part)) for weight, text in choices]


def build(lexicon: Mapping[str, Sequence[str]] = LEXICON) -> dict[str, list[Production]]:
    """The grammar over a lexicon; its start symbol is "sentence".

    Within a class the word of rank r has a probability proportional to 1/r. Nothing is recursive: at most two
    prepositional phrases of at most 6 words and one relative clause of at most 7 stand between the subject and its
    verb, which is therefore at most 20 words after it.

    Every sentence has exactly one derivation. Reading from the left, the next word alone decides every choice:
      - between the words of a class, and between classes: no word is in two classes;
      - singular or plural: the choice is made at the noun or at the verb itself, never before;
      - whether an adjective, adverb, phrase or clause is there: what starts it (quality, adverb, preposition, "that";
        "and" for a second adjective) never starts what follows when it is absent (noun, verb, end of sentence);
      - which relative clause: after "that" comes a verb or a determiner.
    So two derivations of one sentence would make the same choice at each step and be the same. Hence the entropy of
    the derivations is the entropy of the sentences, and `entropy_bits` is exact.

    Raises ValueError when a word is in two classes or is one of the two words of the grammar itself.
    """
    words = [word for group in lexicon.values() for word in group] + ["and", "that"]
    if len(set(words)) != len(words):
        raise ValueError("a word is in two classes, or twice in one: sentences would be ambiguous")
    grammar: dict[str, list[Production]] = {}
    for name, group in lexicon.items():
        total = sum(Fraction(1, rank) for rank in range(1, len(group) + 1))
        grammar[name] = [(Fraction(1, rank) / total, (word,)) for rank, word in enumerate(group, 1)]
    grammar["sentence"] = weighted((1, "determiner+adjectives+subject"))
    grammar["subject"] = weighted((1, "clause singular"), (1, "clause plural"))
    grammar["adjectives"] = weighted((1, ""), (1, "quality+second adjective"))
    grammar["second adjective"] = weighted((1, ""), (1, "and+colour"))
    grammar["any noun"] = weighted((1, "noun singular"), (1, "noun plural"))
    for number, other in (NUMBERS, reversed(NUMBERS)):
        grammar[f"clause {number}"] = weighted((1, f"noun {number}+after {number}+predicate {number}"))
        # Two phrases at most, then a relative clause; nouns between subject and verb are mostly of the other number.
        ending = f"relative {number}"
        grammar[f"after {number}"] = weighted((4, ""), (4, f"phrase {number}+then {number}"), (2, ending))
        grammar[f"then {number}"] = weighted((3, ""), (4, f"phrase {number}+last {number}"), (3, ending))
        grammar[f"last {number}"] = weighted((1, ""), (1, ending))
        grammar[f"phrase {number}"] = weighted((1, f"preposition+determiner+adjectives+distractor {number}"))
        grammar[f"distractor {number}"] = weighted((2, f"noun {other}"), (1, f"noun {number}"))
        grammar[ending] = weighted((1, f"that+relative body {number}"))
        grammar[f"relative body {number}"] = weighted(
            (1, f"transitive {number}+determiner+adjectives+distractor {number}"),
            (1, f"determiner+adjectives+relative subject {number}"),
        )
        grammar[f"relative subject {number}"] = weighted(
            (2, f"noun {other}+transitive {other}"), (1, f"noun {number}+transitive {number}")
        )
        grammar[f"predicate {number}"] = weighted(
            (2, f"intransitive {number}+manner"),
            (2, f"transitive {number}+determiner+adjectives+any noun"),
            (1, f"copula {number}+quality"),
        )
    grammar["manner"] = weighted((2, ""), (1, "adverb"))
    return grammar


@dataclass(frozen=True)
class Entropy:
    """The exact figures of a grammar; an end of line counts as one word and one character."""

    bits_per_sentence: float
    words_per_sentence: Fraction
    characters_per_sentence: Fraction

    @property
    def bits_per_word(self) -> float:
        """What the best model possible needs for a word, ends of line included."""
        return self.bits_per_sentence / float(self.words_per_sentence)

    @property
    def bits_per_character(self) -> float:
        """What the best model possible needs for a character, ends of line included."""
        return self.bits_per_sentence / float(self.characters_per_sentence)


def entropy(grammar: Grammar) -> Entropy:
    """The entropy of the sentences of an unambiguous grammar without recursion, and their mean length.

    Chain rule: the entropy of a symbol is that of the choice of its production plus, weighted by the probability of
    each production, the entropies of the symbols it is replaced by, which are expanded independently.
    """

    @cache
    def measure(symbol: str) -> tuple[float, Fraction, Fraction]:
        if symbol not in grammar:
            return 0.0, Fraction(1), Fraction(len(symbol) + 1)  # the word, and the space or newline that ends it
        bits, words, characters = 0.0, Fraction(0), Fraction(0)
        for probability, parts in grammar[symbol]:
            measured = [measure(part) for part in parts]
            bits += float(probability) * (sum(part[0] for part in measured) - math.log2(probability))
            words += probability * sum(part[1] for part in measured)
            characters += probability * sum(part[2] for part in measured)
        return bits, words, characters

    bits, words, characters = measure("sentence")
    return Entropy(bits, words + 1, characters)


def sample(grammar: Grammar, generator: random.Random) -> tuple[list[str], float]:
    """One sentence: its words, and the probability of its derivation in bits (-log2 p)."""
    words: list[str] = []
    bits = 0.0
    waiting = ["sentence"]
    while waiting:
        symbol = waiting.pop()
        if symbol not in grammar:
            words.append(symbol)
            continue
        productions = grammar[symbol]
        weights = [float(probability) for probability, _ in productions]
        probability, parts = generator.choices(productions, weights)[0]
        bits -= math.log2(probability)
        waiting.extend(reversed(parts))
    return words, bits


@dataclass(frozen=True)
class Agreement:
    """A verb and the subject it agrees with, as positions of words counted from 0."""

    subject: int
    verb: int

    @property
    def distance(self) -> int:
        """How many words after its subject the verb stands (1: the next word)."""
        return self.verb - self.subject


def agreements(sentence: str, lexicon: Mapping[str, Sequence[str]] = LEXICON) -> list[Agreement]:
    """The verbs of a sentence of the grammar, in order, each with its subject; the last is the main verb.

    Raises ValueError when a word is not in the lexicon or a verb has no subject.
    """
    classes = {word: name.split()[0] for name, words in lexicon.items() for word in words}
    found: list[Agreement] = []
    subjects: list[int] = []  # nouns whose verb is still to come, the nearest last
    clause_start = True  # at the start of the sentence or after "that": the next noun is a subject
    for position, word in enumerate(sentence.split()):
        kind = classes.get(word, word)
        if kind == "that":
            clause_start = True
        elif kind == "noun" and clause_start:
            subjects.append(position)
            clause_start = False
        elif kind in ("transitive", "intransitive", "copula"):
            if not subjects:
                raise ValueError(f"word {position} ({word!r}) is a verb without a subject in {sentence!r}")
            # Straight after "that" the subject is the noun outside the clause, which still waits for its own verb.
            found.append(Agreement(subjects[-1] if clause_start else subjects.pop(), position))
            clause_start = False
        elif word not in classes and word != "and":
            raise ValueError(f"word {position} ({word!r}) is not a word of the grammar in {sentence!r}")
    return found


def labelled(sentence: str, lexicon: Mapping[str, Sequence[str]] = LEXICON) -> str:
    """`singular TAB words`: the main verb's number, and the words before it. Raises ValueError as `agreements`."""
    words, main_verb = sentence.split(), agreements(sentence, lexicon)[-1]
    (number,) = (name.split()[1] for name, group in lexicon.items() if words[main_verb.subject] in group)
    return f"{number}\t{' '.join(words[: main_verb.verb])}"


def tagged(sentence: str, lexicon: Mapping[str, Sequence[str]] = LEXICON) -> str:
    """`word TAB tag` lines: parts of speech, the number of a determiner's noun, subjects. Raises as `agreements`."""
    subjects = {found.subject for found in agreements(sentence, lexicon)}
    names = {word: name for name, group in lexicon.items() for word in group}
    lines, number = "", ""  # of the next noun
    for place, word in reversed(list(enumerate(sentence.split()))):
        kind, _, own = names.get(word, word).partition(" ")
        number = own if kind == "noun" else number
        role = {"noun": ":subject" if place in subjects else ":object", "determiner": f":{number}"}.get(kind, "")
        lines = f"{word}\t{PARTS_OF_SPEECH[kind]}{role}\n{lines}"
    return lines


def best_from_the_left(grammar: Grammar) -> float:
    """The best accuracy of tags given only what is before: the number of a determiner is guessed, the rest certain."""

    def singular(symbol: str) -> Fraction:  # how probable it is that its first noun is
        if symbol in LEXICON:
            return Fraction(symbol == "noun singular")
        return sum((probability * singular(parts[0]) for probability, parts in grammar[symbol]), Fraction(0))

    def wrong(symbol: str) -> Fraction:  # how many of its tags are guessed wrong
        total = Fraction(0)
        for probability, parts in grammar.get(symbol, ()):
            total += probability * sum(map(wrong, parts))
            for noun in parts[parts.index("determiner") + 2 :][:1] if "determiner" in parts else ():
                total += probability * min(singular(noun), 1 - singular(noun))  # after the adjectives
        return total

    return 1 - float(wrong("sentence") / (entropy(grammar).words_per_sentence - 1))


def other_number(verb: str, lexicon: Mapping[str, Sequence[str]] = LEXICON) -> str:
    """The same verb in the other number ("sees" for "see"): the mistake whose probability a test of agreement compares.

    Raises ValueError when the word is not a verb of the lexicon.
    """
    for kind in ("transitive", "intransitive", "copula"):
        for number, other in (NUMBERS, reversed(NUMBERS)):
            if verb in lexicon[f"{kind} {number}"]:
                return lexicon[f"{kind} {other}"][lexicon[f"{kind} {number}"].index(verb)]
    raise ValueError(f"{verb!r} is not a verb of the grammar")


def describe(figures: Entropy) -> str:
    """The figures in one line."""
    return (
        f"entropy: {figures.bits_per_sentence:.6f} bits per sentence, {figures.bits_per_word:.6f} bits per word, "
        f"{figures.bits_per_character:.6f} bits per character ({float(figures.words_per_sentence):.4f} words and "
        f"{float(figures.characters_per_sentence):.4f} characters a sentence, its end of line counted as one of each)"
    )


def count(text: str) -> int:
    """The parser of `--sentences`."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is too few; it must be at least 1")
    return value


def main(arguments: Iterable[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Write sentences of a grammar whose entropy is known exactly.")
    parser.add_argument("--sentences", type=count, default=100_000, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers (default: %(default)s)")
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write (default: standard output)")
    parser.add_argument("--labels", action="store_true", help="a label and the words before the main verb, to classify")
    parser.add_argument("--tags", action="store_true", help="a word and its tag a line, and a blank line, to tag")
    parser.add_argument("--entropy", action="store_true", help="print the exact entropy and write no sentences")
    options = parser.parse_args(None if arguments is None else list(arguments))
    grammar = build()
    best = f"best accuracy: 1 in both directions, {best_from_the_left(grammar):.6f} from the left"
    line = best if options.tags else describe(entropy(grammar))
    if options.entropy:
        print(line)
        return 0
    generator = random.Random(options.seed)
    write = labelled if options.labels else tagged if options.tags else str
    try:
        with Path(options.output).open("wb") if options.output else os.fdopen(os.dup(1), "wb") as stream:
            for _ in range(options.sentences):
                sentence = " ".join(sample(grammar, generator)[0])
                stream.write(f"{write(sentence)}\n".encode())
    except BrokenPipeError:
        return 0
    except OSError as error:
        print(f"agreement.py: {options.output or 'standard output'}: {error.strerror}", file=sys.stderr)
        return 1
    print(line, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
