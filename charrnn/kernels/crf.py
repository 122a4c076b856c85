"""A linear-chain conditional random field over the steps of each sequence: log-probability, gradient, best path.

    score(y) = start[y_1] + Σ_t logits[t, y_t] + Σ_t transitions[y_{t-1}, y_t] + end[y_n]
    log p(y) = score(y) - log Σ_y' exp score(y')

Lafferty, McCallum and Pereira 2001, "Conditional random fields: probabilistic models for segmenting and labeling
sequence data". The sum is the forward algorithm in log space; its gradient goes back through the same steps. Shapes:
logits (T, B, L), transitions (L, L) from row to column, start and end (L). A sequence begins where mask (T, B) is 0 and
ends where reverse_mask (T, B) is 0; what lies outside has no tags. All handle the rows from `begin` to `end` only.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from charrnn.kernels.functions import exp, largest
from charrnn.kernels.rounding import store_gemm_input
from charrnn.runtime.arrays import Array, Ids
from charrnn.runtime.compile import inline, kernel


@inline
def advance(before: Array, transitions: Array, peaks: Array, sums: Array) -> None:
    """sums[j] = log Σ_i exp(before[i] + transitions[i, j]); peaks (L): scratch."""
    L = before.size
    peaks[:] = -np.inf
    for i in range(L):
        row, score = transitions[i], before[i]
        for j in range(L):
            peaks[j] = max(peaks[j], score + row[j])
    sums[:] = 0
    for i in range(L):
        row, score = transitions[i], before[i]
        for j in range(L):
            sums[j] += exp(score + row[j] - peaks[j])
    for j in range(L):
        sums[j] = peaks[j] + math.log(sums[j])


@inline
def log_sum(scores: Array, others: Array) -> float:
    """log Σ_j exp(scores[j] + others[j]), in float64."""
    top = scores[0] + others[0]
    for j in range(scores.size):
        top = max(top, scores[j] + others[j])
    total = 0.0
    for j in range(scores.size):
        total += exp(scores[j] + others[j] - top)
    return np.float64(top) + math.log(total)


@inline
def forward(
    logits: Array, targets: Ids, mask: Array, reverse_mask: Array, transitions: Array, start: Array, end_scores: Array,
    alphas: Array, sums: Array, log_probs: Array, b: int,
) -> None:  # fmt: skip
    """The forward algorithm over row b: log p of each sequence stands at its last step, 0 elsewhere.

    alphas, sums (T, B, L), out: log of the summed scores of all paths to a tag, less their largest, and the same
    without the logits of the step. log_probs (T, B) float64, out.
    """
    T, L = logits.shape[0], logits.shape[2]
    scale = path = 0.0
    inside = False
    for t in range(T):
        log_probs[t, b] = 0
        row, alpha, before, y = logits[t, b], alphas[t, b], sums[t, b], targets[t, b]
        if mask[t, b] == 0:
            inside, scale, path = True, 0.0, np.float64(start[y])
            for j in range(L):
                before[j] = start[j]
        elif inside:
            path += transitions[targets[t - 1, b], y]
            advance(alphas[t - 1, b], transitions, alpha, before)
        if inside:
            path += row[y]
            for j in range(L):
                alpha[j] = before[j] + row[j]
            top = largest(alpha)
            for j in range(L):
                alpha[j] -= top
            scale += top
            if reverse_mask[t, b] == 0:
                log_probs[t, b] = path + end_scores[y] - scale - log_sum(alpha, end_scores)
                inside = False


@kernel
def sequence_log_probs(
    logits: Array, targets: Ids, mask: Array, reverse_mask: Array, transitions: Array, start: Array, end_scores: Array,
    alphas: Array, sums: Array, log_probs: Array, begin: int, end: int,
) -> None:  # fmt: skip
    """log_probs (T, B) float64: log p of the targets (T, B) of a sequence at its last step, 0 elsewhere.

    alphas, sums (T, B, L): scratch.
    """
    for b in range(begin, end):
        forward(
            logits, targets, mask, reverse_mask, transitions, start, end_scores, alphas, sums, log_probs, b
        )  # fmt: skip


@kernel
def sequence_gradient(
    logits: Array, targets: Ids, scales: Array, mask: Array, reverse_mask: Array, transitions: Array, start: Array,
    end_scores: Array, alphas: Array, sums: Array, log_probs: Array, dlogits: Array, dtransitions: Array, dstart: Array,
    dend: Array, marginals: Array, begin: int, end: int,
) -> None:  # fmt: skip
    """As `sequence_log_probs`, and the gradient of -Σ scales log p; of a sequence the scale at its last step counts.

    logits: in, logits; out, their gradient, which dlogits has as gemm input. dtransitions (B, L, L), dstart and dend
    (B, L): the gradients of each row. marginals (B, 2, L): scratch.
    """
    T, L = logits.shape[0], logits.shape[2]
    for b in range(begin, end):
        forward(
            logits, targets, mask, reverse_mask, transitions, start, end_scores, alphas, sums, log_probs, b
        )  # fmt: skip
        dtransitions[b], dstart[b], dend[b] = 0, 0, 0
        current, previous = marginals[b, 0], marginals[b, 1]
        inside = False
        scale = logits.dtype.type(0)
        for t in range(T - 1, -1, -1):
            row = logits[t, b]
            if reverse_mask[t, b] == 0:
                inside, scale = True, logits.dtype.type(scales[t, b])
                alpha = alphas[t, b]
                total = logits.dtype.type(log_sum(alpha, end_scores))
                for j in range(L):
                    current[j] = scale * exp(alpha[j] + end_scores[j] - total)
                    dend[b, j] += current[j]
                dend[b, targets[t, b]] -= scale
            if not inside:
                row[:] = 0
                store_gemm_input(row, dlogits[t, b])
                continue
            y = targets[t, b]
            for j in range(L):
                row[j] = current[j]
            row[y] -= scale
            store_gemm_input(row, dlogits[t, b])
            if mask[t, b] == 0:
                for j in range(L):
                    dstart[b, j] += row[j]
                inside = False
                continue
            before, total_of = alphas[t - 1, b], sums[t, b]
            for i in range(L):
                scores, gradient, score = transitions[i], dtransitions[b, i], before[i]
                mass = logits.dtype.type(0)
                for j in range(L):
                    share = current[j] * exp(score + scores[j] - total_of[j])
                    gradient[j] += share
                    mass += share
                previous[i] = mass
            dtransitions[b, targets[t - 1, b], y] -= scale
            for j in range(L):
                current[j] = previous[j]


@kernel
def best_paths(
    logits: Array, mask: Array, reverse_mask: Array, transitions: Array, start: Array, end_scores: Array, scores: Array,
    origins: npt.NDArray[np.uint16], tags: Ids, begin: int, end: int,
) -> None:  # fmt: skip
    """tags (T, B): the path of the highest score of each sequence; of several the one of lower tags from its end on.

    Viterbi 1967, "Error bounds for convolutional codes and an asymptotically optimum decoding algorithm",
    doi:10.1109/TIT.1967.1054010. scores (2, B, L), origins (T, B, L): scratch.
    """
    T, L = logits.shape[0], logits.shape[2]
    for b in range(begin, end):
        inside = False
        first = 0
        for t in range(T):
            row, score, before = logits[t, b], scores[t % 2, b], scores[(t + 1) % 2, b]
            tags[t, b] = 0
            if mask[t, b] == 0:
                inside, first = True, t
                for j in range(L):
                    score[j] = start[j] + row[j]
            elif inside:
                origin = origins[t, b]
                score[:] = -np.inf
                for i in range(L):
                    links, past = transitions[i], before[i]
                    for j in range(L):
                        value = past + links[j]
                        if value > score[j]:
                            score[j] = value
                            origin[j] = i
                for j in range(L):
                    score[j] += row[j]
            if not inside:
                continue
            top = largest(score)
            for j in range(L):
                score[j] -= top
            if reverse_mask[t, b] == 0:
                best = 0
                for j in range(L):
                    if score[j] + end_scores[j] > score[best] + end_scores[best]:
                        best = j
                for step in range(t, first - 1, -1):
                    tags[step, b] = best
                    if step > first:
                        best = origins[step, b, best]
                inside = False
