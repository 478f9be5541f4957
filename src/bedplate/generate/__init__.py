"""Sampling and batched generation; grows into the inference engine."""
