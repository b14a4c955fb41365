"""The dataset on the HuggingFace Hub: commits, partitions, keys, the card, the reduced dataset."""
