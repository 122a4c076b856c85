#!/usr/bin/env python3
"""Throws of a ball: where it is every quarter of a second, in metres, measured with noise.

    python3 corpora/ball.py --throws 2000 --seed 1 -o ball.csv
    python3 corpora/ball.py --throws 500 --seed 2 -o later.csv
    python3 corpora/ball.py --best later.csv

A throw has six rows: its number, and x, y, z. Gravity and the drag of the air, which grows with the square of speed,
bend its path; nothing else acts on it. From five positions the sixth is to be told. --best prints the error of the best
estimate there is: position and velocity at the start are fitted to the five positions by least squares, with the
equations that made the throws (Gauss and Newton's method).
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import random
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

GRAVITY = 9.81  # m/s²
DRAG = 0.02  # 1/m: the deceleration is DRAG v²
NOISE = 0.014  # m, the standard deviation of each coordinate
INTERVAL = 0.25  # s between rows
SUBSTEPS = 5  # of the Runge-Kutta method between rows: its error is far below a millimetre
ROWS = 6
SPEEDS, ELEVATIONS = (10.0, 25.0), (20.0, 70.0)  # m/s, degrees
ITERATIONS = 5
NUDGE = 1e-4  # of a difference quotient

Vector = list[float]


def derivative(state: Sequence[float]) -> Vector:
    """That of (x, y, z, and their velocities) by time."""
    _, _, _, u, v, w = state
    drag = DRAG * math.sqrt(u * u + v * v + w * w)
    return [u, v, w, -drag * u, -drag * v, -drag * w - GRAVITY]


def moved(state: Sequence[float], time: float) -> Vector:
    """The state so many seconds later, by one step of the Runge-Kutta method of fourth order."""
    a = derivative(state)
    b = derivative([s + time / 2 * d for s, d in zip(state, a, strict=True)])
    c = derivative([s + time / 2 * d for s, d in zip(state, b, strict=True)])
    e = derivative([s + time * d for s, d in zip(state, c, strict=True)])
    return [s + time / 6 * (p + 2 * q + 2 * r + t) for s, p, q, r, t in zip(state, a, b, c, e, strict=True)]


def path(state: Sequence[float], rows: int) -> list[Vector]:
    """The positions of a ball, one a row, from the state at the first on."""
    found, now = [list(state[:3])], list(state)
    for _ in range(rows - 1):
        for _ in range(SUBSTEPS):
            now = moved(now, INTERVAL / SUBSTEPS)
        found.append(now[:3])
    return found


def thrown(generator: random.Random) -> Vector:
    """The state of a ball that leaves a hand, in any direction."""
    speed, around = generator.uniform(*SPEEDS), generator.uniform(0, 2 * math.pi)
    up = math.radians(generator.uniform(*ELEVATIONS))
    place = [generator.uniform(-1, 1), generator.uniform(-1, 1), generator.uniform(0.5, 2.5)]
    level = speed * math.cos(up)
    return [*place, level * math.cos(around), level * math.sin(around), speed * math.sin(up)]


def throws(count: int, seed: int) -> Iterator[list[Vector]]:
    """The measured positions of so many throws, `ROWS` each."""
    generator = random.Random(seed)
    for _ in range(count):
        exact = path(thrown(generator), ROWS)
        yield [[value + generator.gauss(0, NOISE) for value in row] for row in exact]


def solved(matrix: Sequence[Sequence[float]], right: Sequence[float]) -> Vector:
    """The solution of linear equations, by elimination with pivots."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    size = len(rows)
    for column in range(size):
        pivot = max(range(column, size), key=lambda row: abs(rows[row][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for row in range(size):
            if row != column:
                factor = rows[row][column] / rows[column][column]
                rows[row] = [a - factor * b for a, b in zip(rows[row], rows[column], strict=True)]
    return [rows[n][size] / rows[n][n] for n in range(size)]


def best_estimate(seen: Sequence[Sequence[float]]) -> Vector:
    """The next position after those seen, by least squares with the true equations."""
    first, second = seen[0], seen[1]
    velocity = [(b - a) / INTERVAL for a, b in zip(first, second, strict=True)]
    velocity[2] += GRAVITY * INTERVAL / 2
    state = [*first, *velocity]
    measured = [value for row in seen for value in row]
    for _ in range(ITERATIONS):
        found = [value for row in path(state, len(seen)) for value in row]
        slopes = []
        for n in range(6):
            nudged = [value + NUDGE * (n == m) for m, value in enumerate(state)]
            ahead = [value for row in path(nudged, len(seen)) for value in row]
            slopes.append([(b - a) / NUDGE for a, b in zip(found, ahead, strict=True)])
        missing = [a - b for a, b in zip(measured, found, strict=True)]
        matrix = [[sum(a * b for a, b in zip(p, q, strict=True)) for q in slopes] for p in slopes]
        right = [sum(a * b for a, b in zip(p, missing, strict=True)) for p in slopes]
        state = [value + change for value, change in zip(state, solved(matrix, right), strict=True)]
    return path(state, len(seen) + 1)[-1]


def read(name: str) -> list[list[Vector]]:
    """The throws of a table that `main` wrote."""
    found: dict[str, list[Vector]] = {}
    with Path(name).open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            found.setdefault(row["throw"], []).append([float(row[axis]) for axis in "xyz"])
    return list(found.values())


def best_error(measured: Sequence[Sequence[Vector]]) -> float:
    """The root mean square error of the best estimate of the last position of each throw, over the coordinates."""
    squares = [
        (a - b) ** 2
        for throw in measured
        for a, b in zip(best_estimate(throw[:-1]), throw[-1], strict=True)
    ]  # fmt: skip
    return math.sqrt(sum(squares) / len(squares))


def main(arguments: Iterable[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Write throws of a ball, or the best error possible on some.")
    parser.add_argument("--throws", type=int, default=2000, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers (default: %(default)s)")
    parser.add_argument("-o", "--output", metavar="FILE", help="where to write (default: standard output)")
    parser.add_argument("--best", metavar="FILE", help="print the best error possible on these throws, and write none")
    options = parser.parse_args(None if arguments is None else list(arguments))
    try:
        if options.best:
            print(f"best possible: {best_error(read(options.best)):.4f} m (the noise alone {NOISE} m)")
            return 0
        with Path(options.output).open("w", encoding="utf-8") if options.output else nullcontext(sys.stdout) as stream:
            stream.write("throw,x,y,z\n")
            for number, rows in enumerate(throws(options.throws, options.seed), 1):
                for row in rows:
                    stream.write(f"{number},{','.join(f'{value:.4f}' for value in row)}\n")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except OSError as error:
        print(f"ball.py: {error.filename or 'standard output'}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
