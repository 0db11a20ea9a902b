"""The feature classes that a built dataset may name, and what each may carry.

Owns constants only. The classes are those that TFDS 4.9.10 exports as ``tfds.features``; a test
compares this list with the installed one.
"""

from __future__ import annotations

__all__ = ["CONTENT_FIELDS", "DTYPES", "FEATURE_CLASSES", "PROTO_CLASSES"]

_BASE = "tensorflow_datasets.core.features"

FEATURE_CLASSES: dict[str, str] = {
    f"{_BASE}.audio_feature.Audio": "Audio",
    f"{_BASE}.bounding_boxes.BBoxFeature": "BBoxFeature",
    f"{_BASE}.class_label_feature.ClassLabel": "ClassLabel",
    f"{_BASE}.dataset_feature.Dataset": "Dataset",
    f"{_BASE}.feature.Tensor": "Tensor",  # its place before TFDS 4.3; still written in old datasets
    f"{_BASE}.features_dict.FeaturesDict": "FeaturesDict",
    f"{_BASE}.image_feature.Image": "Image",
    f"{_BASE}.labeled_image.LabeledImage": "LabeledImage",
    f"{_BASE}.scalar.Scalar": "Scalar",
    f"{_BASE}.sequence_feature.Sequence": "Sequence",
    f"{_BASE}.tensor_feature.Tensor": "Tensor",
    f"{_BASE}.text_feature.Text": "Text",
    f"{_BASE}.translation_feature.Translation": "Translation",
    f"{_BASE}.translation_feature.TranslationVariableLanguages": "TranslationVariableLanguages",
    f"{_BASE}.video_feature.Video": "Video",
}
"""Full class names as ``features.json`` writes them, with their short names."""

CONTENT_FIELDS: dict[str, str] = {
    "audio": "AudioFeature",
    "boundingBox": "BoundingBoxFeature",
    "classLabel": "ClassLabel",
    "featuresDict": "FeaturesDict",
    "image": "ImageFeature",
    "jsonFeature": "JsonFeature",
    "sequence": "Sequence",
    "tensor": "TensorFeature",
    "text": "TextFeature",
    "translation": "TranslationFeature",
    "video": "VideoFeature",
}
"""The fields of the message ``tensorflow_datasets.Feature`` that hold content, and their types."""

PROTO_CLASSES: dict[str, str] = {
    f"tensorflow_datasets.{message}": message
    for message in CONTENT_FIELDS.values()
    if message != "JsonFeature"
}
"""What the ``proto_cls`` of the older form (before TFDS 4.5) may say."""

DTYPES = frozenset(
    [
        *["bool", "string", "object", "str"],
        *["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"],
        *["float16", "bfloat16", "float32", "float64"],
    ]
)
"""Anything else would go to a parser of NumPy's or to TensorFlow."""
