"""Documents, and parts of documents, that are there more than once."""
