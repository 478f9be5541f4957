"""Rights: under which licence a document is, whether its owner opted out, and lists of what to leave out."""
