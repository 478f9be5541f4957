"""Fine-tuning to a task: LoRA, the last layer, biases or every weight, of a causal model or an encoder."""
