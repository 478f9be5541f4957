"""The page on which people label a corpus's documents, and its small server on the loopback."""
