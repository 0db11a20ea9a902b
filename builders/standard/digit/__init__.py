"""Free Spoken Digit Dataset 1.0.8."""
