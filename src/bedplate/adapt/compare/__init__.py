"""Several ways of adapting on one task and one budget: how good each is, what it costs, and which to take."""
