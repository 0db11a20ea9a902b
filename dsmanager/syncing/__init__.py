"""Sync: compare manifest, built, cached and remote, plan what is to be done, carry it out.

Nothing here moves or removes a byte itself: every step is a verb of the library.
"""
