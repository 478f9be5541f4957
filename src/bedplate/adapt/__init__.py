"""Ways of adapting a base to a task (prompts, retrieval, probes, fine-tuning, baselines), and comparing them."""
