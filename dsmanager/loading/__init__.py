"""Opening built datasets: safety first, then TFDS, NumPy or TensorFlow."""
