"""From code points to units and their numbers, for texts of any size.

Texts are arrays of code points, uint32; places in them are int32 for short texts and int64 for those of more than 2^31
characters. The rules by which words are cut are those of `text/units.py`, written once more without regular
expressions; a test compares the two on all of Unicode.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from charrnn.runtime.arrays import Ids
from charrnn.runtime.compile import kernel

Points: TypeAlias = npt.NDArray[np.uint32]
Classes: TypeAlias = npt.NDArray[np.uint8]
Counts: TypeAlias = npt.NDArray[np.int64]
Places: TypeAlias = npt.NDArray[np.signedinteger]
Hashes: TypeAlias = npt.NDArray[np.uint64]
Bytes: TypeAlias = npt.NDArray[np.uint8]

# What a code point can be; flags, for some are two things.
LETTER, DIGIT, MARK, SPACE, SYMBOL = 1, 2, 4, 8, 16
_NEWLINE, _BLANK, _QUOTE, _COMMA, _POINT, _UNDERSCORE, _APOSTROPHE = 10, 32, 39, 44, 46, 95, 0x2019
_LESS, _U, _N, _K, _GREATER = 60, 117, 110, 107, 62  # <unk>
_FNV_PRIME = np.uint64(0x100000001B3)


@kernel
def add_counts(codes: Points, counts: Counts) -> None:
    """counts[codes[n]] += 1 for each of codes (N)."""
    for n in range(codes.size):
        counts[codes[n]] += 1


@kernel
def number_points(text: Points, numbers: Ids, points: Ids, count: int, codes: Points) -> int:
    """codes (N): the numbers of the code points of text (N), in the order in which they first appeared.

    numbers (0x110000): one more than the number of each, 0 for those not seen. points: the code point of each number.
    `count` were seen before; returns how many now.
    """
    for n in range(text.size):
        point = text[n]
        if numbers[point] == 0:
            points[count] = point
            count += 1
            numbers[point] = count
        codes[n] = numbers[point] - 1
    return count


@kernel
def hash_lines(text: Points, start: np.uint64, hashes: Hashes, stops: Counts) -> int:
    """hashes: FNV-1a of the code points of each line of text (N), without its end, beginning with `start`.

    stops: where the next line begins. Both have room for N. Returns how many lines there are; each has its end.
    """
    count, digest = 0, start
    for n in range(text.size):
        if text[n] == _NEWLINE:
            hashes[count], stops[count] = digest, n + 1
            count += 1
            digest = start
        else:
            digest = (digest ^ np.uint64(text[n])) * _FNV_PRIME
    return count


@kernel
def copy_lines(source: Bytes, starts: Counts, stops: Counts, copy: Bytes) -> None:
    """copy: source[starts[n] : stops[n]] for each n, one after the other."""
    place = 0
    for n in range(starts.size):
        piece = source[starts[n] : stops[n]]
        target = copy[place : place + piece.size]
        for m in range(piece.size):
            target[m] = piece[m]
        place += piece.size


@kernel
def split_words(text: Points, classes: Classes, starts: Places, stops: Places) -> int:
    """Cut text (N) as `units.word_pattern` does; unit i is text[starts[i] : stops[i]]. Returns how many there are.

    classes (0x110000): the flags of each code point. starts, stops: room for N.
    """
    count, start = 0, np.int64(0)
    while start < text.size:
        stop = _word_end(text, classes, start)
        starts[count], stops[count] = start, stop
        count += 1
        start = stop
    return count


@kernel
def _word_end(text: Points, classes: Classes, start: Any) -> Any:
    """Where the unit that begins at `start` ends."""
    N = text.size
    if text[start] == _NEWLINE:
        return start + 1
    end = start + 1 if text[start] == _BLANK else start
    if end == N or classes[text[end]] & SPACE:
        # White space; its last plain space belongs to what follows.
        end = start
        while end < N and classes[text[end]] & SPACE and text[end] != _NEWLINE:
            end += 1
        if end < N and end - 1 > start and text[end - 1] == _BLANK and not classes[text[end]] & SPACE:
            end -= 1
        return end
    kind = classes[text[end]]
    if kind & LETTER:
        end = _while_class(text, classes, end, LETTER)
        while end < N:
            if classes[text[end]] & MARK:
                end = _while_class(text, classes, _while_class(text, classes, end, MARK), LETTER)
            elif (text[end] == _QUOTE or text[end] == _APOSTROPHE) and end + 1 < N and classes[text[end + 1]] & LETTER:
                end = _while_class(text, classes, end + 1, LETTER)
            else:
                break
        return end
    if kind & DIGIT:
        end = _while_class(text, classes, end, DIGIT)
        while end + 1 < N and (text[end] == _POINT or text[end] == _COMMA) and classes[text[end + 1]] & DIGIT:
            end = _while_class(text, classes, end + 1, DIGIT)
        return end
    if text[end] == _UNDERSCORE:
        while end < N and text[end] == _UNDERSCORE:
            end += 1
        return end
    if (
        end + 5 <= N
        and text[end] == _LESS
        and text[end + 1] == _U
        and text[end + 2] == _N
        and text[end + 3] == _K
        and text[end + 4] == _GREATER
    ):
        return end + 5
    return _while_class(text, classes, end + 1, MARK)


@kernel
def _while_class(text: Points, classes: Classes, start: int, kind: int) -> int:
    """The first place from `start` on whose code point is not of that kind."""
    end = start
    while end < text.size and classes[text[end]] & kind:
        end += 1
    return end


@kernel
def split_pretokenized(text: Points, starts: Places, stops: Places) -> int:
    """Cut text (N) at white space of ASCII, newlines being units; otherwise as `split_words`."""
    count, start, N = 0, 0, text.size
    while start < N:
        if _separates(text[start]):
            start += 1
            continue
        stop = start + 1
        if text[start] != _NEWLINE:
            while stop < N and text[stop] != _NEWLINE and not _separates(text[stop]):
                stop += 1
        starts[count], stops[count] = start, stop
        count += 1
        start = stop
    return count


@kernel
def _separates(point: int) -> bool:
    """Whether a code point is white space of ASCII and not the newline."""
    return point == _BLANK or (point >= 9 and point <= 13 and point != _NEWLINE)


@kernel
def _slot(text: Points, start: Any, stop: Any, slots: Ids, letters: Points, ends: Counts) -> int:
    """The place in the table of the word text[start:stop]: where it is, or where it is to be put.

    slots (a power of 2): the number of the word in each, or -1; the word w is letters[ends[w] : ends[w + 1]].
    """
    digest = np.uint64(0xCBF29CE484222325)  # FNV-1a over code points
    for n in range(start, stop):
        digest = (digest ^ np.uint64(text[n])) * _FNV_PRIME
    mask = slots.size - 1
    slot: Any = np.int64((digest ^ (digest >> np.uint64(32))) & np.uint64(mask))
    while slots[slot] >= 0:
        word = slots[slot]
        first = ends[word]
        if ends[word + 1] - first == stop - start:
            same = 0
            while same < stop - start and letters[first + same] == text[start + same]:
                same += 1
            if same == stop - start:
                break
        slot = (slot + 1) & mask
    found: int = slot
    return found


@kernel
def find_words(
    text: Points, starts: Places, stops: Places, slots: Ids, letters: Points, ends: Counts, found: Ids
) -> None:
    """found (N): the number of each word text[starts[n] : stops[n]], -1 where the table (see `_slot`) lacks it."""
    for n in range(found.size):
        found[n] = slots[_slot(text, starts[n], stops[n], slots, letters, ends)]


@kernel
def add_words(first: int, last: int, slots: Ids, letters: Points, ends: Counts) -> None:
    """Put the words `first` to `last` into the table (see `_slot`), which must have room for them."""
    for word in range(first, last):
        slots[_slot(letters, np.int64(ends[word]), np.int64(ends[word + 1]), slots, letters, ends)] = word


@kernel
def first_fit(lengths: Counts, room: Counts, rows: Counts) -> int:
    """Put each of lengths (N), which fall, into the first row that has room for it; how many rows are used.

    room (N): of each row, at least the first length; out, what is left. rows (N): out, the row of each.
    """
    used, row = 0, 0
    for n in range(lengths.size):
        if n == 0 or lengths[n] < lengths[n - 1]:  # of the same length no earlier row has room
            row = 0
        while room[row] < lengths[n]:
            row += 1
        room[row] -= lengths[n]
        rows[n] = row
        used = max(used, row + 1)
    return used
