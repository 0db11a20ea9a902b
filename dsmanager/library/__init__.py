"""The library: one data dir, its manifest and its remote; presence, and the verbs.

``places.py`` knows where things are and what is there; each verb, and each thing that verbs share,
has a module of its own; ``library.py`` is the class on top that the Python API uses.
"""
