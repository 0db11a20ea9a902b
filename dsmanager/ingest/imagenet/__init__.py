"""ImageNet (ILSVRC 2012) to the shards that the TPU and slim scripts make of it.

``request`` is what was asked, ``convert`` does it from end to end; ``plan`` decides once which
image goes where, ``shards`` makes one shard in whatever process, ``work`` is the folder that a
killed run leaves, ``publishing`` the way into DEST. ``layouts`` knows the two scripts,
``annotations`` and ``beside`` what they read beside images, ``result`` what is said in the end.
Import the modules; nothing is loaded from here.
"""
