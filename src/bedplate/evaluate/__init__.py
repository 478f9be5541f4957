"""Metrics of models, baselines to hold them against, and the stage and short form that report them."""
