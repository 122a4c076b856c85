"""Training: a loop that yields events, optimisers, clipping, learning-rate schedules, early stopping, rollback.

Prints nothing, and knows tasks by `training.task` only.
"""
