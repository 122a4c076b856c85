"""Distributions of next rows: Gaussian or Student's t of a number or of its logarithm."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from charrnn.nn.numbers import log_constant
from charrnn.tasks.forecast_windows import Floats


@dataclass(frozen=True)
class Distribution:
    """Distributions of numbers, of their logarithms with `log`: location and scale (..., C), `degrees` of freedom of
    Student's t, 0 for the Gaussian."""

    location: Floats
    scale: Floats
    degrees: float
    log: bool

    @property
    def point(self) -> Floats:
        """The medians."""
        return self._back(self.location)

    def quantile(self, probability: float) -> Floats:
        """The numbers below which this probability lies."""
        return self._back(self.location + self.scale * standard_quantile(probability, self.degrees))

    def log_densities(self, x: Floats) -> Floats:
        """Log densities of numbers x, in nats, -inf where a logarithm does not exist."""
        e, jacobian = self._standard(x)
        with np.errstate(over="ignore"):
            n = self.degrees
            shape = -0.5 * (n + 1) * np.log1p(e**2 / n) if n else -0.5 * e**2
        found: Floats = log_constant(self.degrees) - np.log(self.scale) + shape - jacobian
        return found

    def log_density(self, x: Floats) -> Floats:
        """Log densities of rows: sums over the series."""
        total: Floats = self.log_densities(x).sum(axis=-1)
        return total

    def central(self, x: Floats) -> Floats:
        """The probability of the central interval that just reaches x: 2 |P(x) - 1/2|."""
        return central_probability(np.abs(self._standard(x)[0]), self.degrees)

    def draw(self, rng: np.random.Generator) -> Floats:
        """A sample of each in units of the distribution, logarithms with `log`."""
        shape = self.location.shape
        noise = rng.standard_t(self.degrees, shape) if self.degrees else rng.standard_normal(shape)
        drawn: Floats = self.location + self.scale * noise
        return drawn

    def _standard(self, x: Floats) -> tuple[Floats, Floats]:
        """x in units of scale from the location, and the logarithm of what a logarithm stretches."""
        if not self.log:
            return (x - self.location) / self.scale, np.zeros_like(self.location)
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(x > 0, np.log(x), -np.inf)
        return (z - self.location) / self.scale, np.where(x > 0, z, 0.0)

    def _back(self, z: Floats) -> Floats:
        return np.exp(np.clip(z, -700, 700)) if self.log else z


def central_probability(e: Floats, degrees: float) -> Floats:
    """P(|T| <= e) of e >= 0: the error function, or for whole degrees of freedom the finite sums of Abramowitz and
    Stegun 1964, 26.7.3 and 26.7.4."""
    if not degrees:
        erf = np.vectorize(math.erf, otypes=[np.float64])
        gaussian: Floats = erf(e / math.sqrt(2))
        return gaussian
    n = int(degrees)
    theta = np.arctan(e / math.sqrt(n))
    cosine = np.cos(theta)
    term = cosine if n % 2 else np.ones_like(theta)
    total = np.zeros_like(theta)
    for k in range(2 + n % 2, n + 1, 2):  # each term from the one before it
        total = total + term
        term = term * cosine**2 * (k - 1) / k
    odd: Floats = 2 / math.pi * (theta + np.sin(theta) * total)
    even: Floats = np.sin(theta) * total
    return odd if n % 2 else even


@functools.lru_cache(64)
def standard_quantile(probability: float, degrees: float) -> float:
    """The quantile of the standard distribution, by bisection where there is no formula."""
    if not degrees:
        return NormalDist().inv_cdf(probability)
    wanted, low, high = abs(2 * probability - 1), 0.0, 1.0
    while float(central_probability(np.array([high]), degrees)[0]) < wanted:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        if float(central_probability(np.array([middle]), degrees)[0]) < wanted:
            low = middle
        else:
            high = middle
    return math.copysign(high, probability - 0.5)
