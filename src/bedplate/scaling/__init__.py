"""Arithmetic of size and cost."""
