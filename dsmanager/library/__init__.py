"""The library: one data dir, its manifest and its remote; presence, and the verbs.

``library.py`` is the class that front ends and the Python API use; every other module owns one verb
or one thing that verbs share.
"""
