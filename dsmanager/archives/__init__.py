"""Archives: one tar of built data and its sidecar; packing, reading, extracting, digests.

``sidecar`` is the description beside an archive, ``packing`` makes both, ``commits`` puts them in
place, ``extraction`` checks and unpacks. ``tar``, ``compression``, ``reading``, ``layout``,
``paths`` and ``lanes`` are what those stand on. Import the modules; nothing is loaded from here.
"""
