"""The catalogue: one folder a dataset, ``standard/<name>/`` and ``adversarial/<name>/``."""
