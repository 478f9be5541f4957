"""Personal data in documents: found by form and checksum, then counted, masked, or a reason to drop the document."""
