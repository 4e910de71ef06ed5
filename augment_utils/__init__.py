"""The notebooks' shared module: images in, contrast transforms, figures out."""

import os

# TensorFlow reads this when it is first imported. Without it, messages that carry
# timestamps end up in the notebooks' outputs.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from augment_utils.contrast import (
    adaptive_histogram_equalization,
    clahe,
    contrast_stretching,
    histogram_equalization,
)
from augment_utils.datasets import Dataset, load_cifar10, load_photo_patches
from augment_utils.keras_bridge import as_dataset_map, as_preprocessing_function

__all__ = [
    "Dataset", "adaptive_histogram_equalization", "as_dataset_map", "as_preprocessing_function",
    "clahe", "contrast_stretching", "histogram_equalization", "load_cifar10", "load_photo_patches",
]  # fmt: skip
