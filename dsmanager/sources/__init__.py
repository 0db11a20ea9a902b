"""Raw sources as they lie on disk: recognised, listed and looked at; never written.

``jpeg`` and ``images`` read headers and mend what is no RGB JPEG, ``tar_index`` lists tars without
reading their content, ``imagenet`` and ``imagenet_labels`` know ILSVRC 2012. What converts sources
stands above, and so do the builders that read them.
"""
