"""Which documents have items of evaluations in them, and what becomes of those."""
