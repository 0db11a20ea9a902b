"""One module a parser: ``run(data)`` holds its properties, ``seeds()`` gives inputs to start from.

``run`` returns for input that is accepted or properly refused, and raises for anything else. The
same functions are called by the fuzzer, by the property tests and by the replay of the corpus.
"""

NAMES = (
    "tar",
    "gz",
    "zst",
    "tfrecord",
    "example",
    "manifest",
    "sidecar",
    "features",
    "dataset_info",
    "refs",
    "query",
    "settings",
    "credentials",
    "template",
    "foreign_tar",
    "unpacking",
    "conversion_index",
    "web_answer",
    "image",
    "ilsvrc_tar",
    "annotation",
    "labels",
)
