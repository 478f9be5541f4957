"""Text that a model writes from a corpus's documents, marked as such: rephrased, as questions and answers, as tasks."""
