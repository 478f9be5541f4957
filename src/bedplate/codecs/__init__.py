"""Raw signal <-> arrays, parameter-free: text tokenizers and chat-template rendering."""
