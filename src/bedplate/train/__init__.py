"""One loop for every objective: loader, optimisers, schedules, parallelism, checkpoints, metrics."""
