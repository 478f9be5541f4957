"""Model families: a configuration, a builder and a two-way table of Hugging Face weights each; loading and saving."""
