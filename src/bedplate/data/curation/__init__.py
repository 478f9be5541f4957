"""What `curate` does: raw sources -> documents with signals -> decisions -> a corpus in which each is accounted for."""
