"""Questions to a corpus and work on one: where a document is from, what differs, what is taken out again."""
