"""Our Keras layers beside Keras' own, each in a graph, on bytes."""

from collections.abc import Callable

import numpy as np

from augment_utils import keras_bridge
from benchmarks.peers import CLIP_LIMIT, TILE

# goals: our layer is at least so many times as fast as the last
LAYERS = {
    "CLAHE": ("`ContrastLimitedAdaptiveHistogramEqualization`", 10),
    "HE on V": ("`Equalization`, R, G and B each, one histogram for the batch", 1),
}


def layer_calls(images: np.ndarray) -> dict[tuple[str, str], Callable[[], object]]:
    """{(transform, whose layer): a function that sends all images through it}."""
    with keras_bridge.quiet_startup():
        import keras
        import tensorflow as tf
    from augment_utils.layers import CLAHE, HistogramEqualization

    tiles = (images.shape[1] // TILE, images.shape[2] // TILE)
    layers = {
        ("CLAHE", "ours"): CLAHE(TILE, CLIP_LIMIT),
        ("CLAHE", "Keras"): keras.layers.ContrastLimitedAdaptiveHistogramEqualization(
            clip_limit=256 * CLIP_LIMIT, tile_grid_size=tiles
        ),
        ("HE on V", "ours"): HistogramEqualization(),
        ("HE on V", "Keras"): keras.layers.Equalization(),
    }
    batch = tf.constant(images)

    def send(layer):
        graph = tf.function(lambda images: layer(images, training=True))
        return lambda: graph(batch).numpy()

    return {name: send(layer) for name, layer in layers.items()}
