"""ImageNet (ILSVRC 2012)."""
