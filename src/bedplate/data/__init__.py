"""Raw documents -> curated corpus -> tokenizer -> token shards -> rows of packed documents."""
