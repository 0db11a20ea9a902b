"""Datasets as their authors published them."""
