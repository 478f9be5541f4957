"""Losses. Each is a small object that says what it will count before the forward pass, and sums after it."""
