"""How much of each source a model sees, and in which order: weights, caps, budgets, curricula."""
