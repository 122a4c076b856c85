"""Learning the weights: a loop that yields events, an optimiser, schedules, budgets and evaluation. Prints nothing."""
