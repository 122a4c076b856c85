"""Calibration: whether what is predicted with probability p comes true in a share p of the cases."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from charrnn.report import draw, page
from charrnn.report.page import Item
from charrnn.report.text import percent

BINS = 10
LEAST = 5  # predictions of a bin that is drawn


def curve(
    sure: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
    """Mean probability and share of right predictions (bins) of bins of equal width, and the expected error.

    sure (N), right (N). The expected calibration error is the mean difference of both, weighted by the predictions of a
    bin: Guo et al. 2017, "On calibration of modern neural networks", arXiv:1706.04599.
    """
    bins = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    mean = np.bincount(bins, weights=sure, minlength=BINS) / np.maximum(counts, 1)
    share = np.bincount(bins, weights=right, minlength=BINS) / np.maximum(counts, 1)
    error = float((counts * np.abs(mean - share)).sum() / max(len(sure), 1))
    drawn = counts >= min(LEAST, counts.max(initial=0))
    return mean[drawn], share[drawn], error


def calibration(sure: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], what: str) -> Item:
    """The figure of predictions of a `what`: their probabilities (N), and whether they were right (N)."""
    mean, share, error = curve(sure, right)
    return page.figure(
        "Calibration",
        f"Of the {what}s predicted with a probability of about p, what share was right? On the dotted diagonal the "
        "probabilities can be taken at their word; below it the model is too sure. The mean distance is "
        f"{percent(error)}.",
        draw.lines([("model", mean, share)], "probability of the prediction", "share that was right", diagonal=True,
                   marks=True),
    )  # fmt: skip
