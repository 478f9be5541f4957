"""Signals: what is measured of every document, as columns of numbers, before anything is decided by them."""
