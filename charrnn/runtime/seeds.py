"""Random seeds."""

from __future__ import annotations

import secrets

_BELOW = 2**31  # short enough to be typed


def random_seed() -> int:
    """A seed for a user who gives none."""
    return secrets.randbelow(_BELOW)
