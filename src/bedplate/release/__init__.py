"""Release folders: a model with its card, its provenance and the proof that it is the model that was trained."""
