"""Figures of predicted labels: accuracy, and precision, recall and F1 of each label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def f1_scores(true: NDArray[np.int32], predicted: NDArray[np.int32], labels: int) -> dict[str, NDArray[np.float64]]:
    """Precision, recall, F1 and support (labels) of each label, given its numbers true (N) and predicted (N).

    A label that is never predicted has a precision of 0, one without records a recall of 0; unknown labels are -1 in
    `true`: every prediction for them is wrong. Van Rijsbergen 1979, "Information retrieval".
    """
    support = np.bincount(true[true >= 0], minlength=labels).astype(np.float64)
    chosen = np.bincount(predicted, minlength=labels)
    right = np.bincount(true[true == predicted], minlength=labels)
    precision, recall = right / np.maximum(chosen, 1), right / np.maximum(support, 1)
    f1 = 2 * right / np.maximum(chosen + support, 1)
    return {"precision": precision, "recall": recall, "f1": f1, "support": support}


def figures(true: NDArray[np.int32], predicted: NDArray[np.int32], labels: int) -> dict[str, float]:
    """`accuracy`, `macro_f1` (the mean over labels that occur), `baseline_accuracy`: that of the first label, which is
    the most frequent one of the training part."""
    scores = f1_scores(true, predicted, labels)
    occurring = scores["support"] > 0
    return {
        "accuracy": float(np.mean(true == predicted)),
        "macro_f1": float(scores["f1"][occurring].mean()) if occurring.any() else 0.0,
        "baseline_accuracy": float(np.mean(true == 0)),
    }


def by_label(
    true: NDArray[np.int32], predicted: NDArray[np.int32], labels: Sequence[str]
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Precision, recall, F1 and support by label, for people and for JSON."""
    scores = f1_scores(true, predicted, len(labels))
    return {
        label: {
            name: int(values[n]) if name == "support" else float(values[n]) for name, values in scores.items()
        }
        for n, label in enumerate(labels)
    }  # fmt: skip
