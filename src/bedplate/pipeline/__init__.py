"""The recipe runner: which stages there are, in which order they run, and what comes next."""
