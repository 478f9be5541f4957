"""What is trained beside or instead of a base's weights: LoRA, biases, single layers; PEFT folders in and out."""
