"""Retrieval: documents into an index that is searched by meaning and by words; answers that cite exact spans of it."""
