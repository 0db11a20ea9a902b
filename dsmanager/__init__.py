"""dsmanager: owns the life of a machine-learning dataset."""
