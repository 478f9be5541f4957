"""What people said of documents: the labels on disk, how far annotators agree, and ways out to other programs."""
