"""Seconds an epoch of the post's CNN, with each way to put CLAHE before it."""

import functools
import itertools
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import skimage
from tqdm import tqdm

from augment_utils import contrast, keras_bridge, training
from augment_utils.datasets import Dataset
from augment_utils.training import BATCH


def measure_epochs(dataset: Dataset, plan: dict, seed: int) -> list[dict]:
    """Train one model on every input in turn, A B C A B C ..., and time the epochs.

    Parameters
    ----------
    dataset : Dataset
        Its cats and dogs are used, or, where it has none, its first two classes.
    plan : dict
        ``epoch_images``, ``epochs``, and ``slow_epochs`` of the inputs that are slow.
    seed : int

    Returns
    -------
    list of dict
        A row for each input, with the median of its epochs, of the same without the model
        (``input_seconds``), and the ratio of the epochs to those of its baseline.
    """
    with keras_bridge.quiet_startup():
        import tensorflow as tf

    tf.keras.utils.set_random_seed(seed)
    part, count = training.cats_and_dogs(dataset), plan["epoch_images"]
    images, labels = part.x_train[:count], part.y_train[:count]
    model, inputs = training.the_posts_cnn(), input_pipelines(seed)
    data = {each.name: each.make(images, labels) for each in inputs}
    warm_up = 2 * BATCH + len(images) % BATCH  # with a last batch as short as an epoch's
    for each in inputs:
        _epoch(model, each.make(images[:warm_up], labels[:warm_up]))
    seconds: dict[str, list[float]] = {each.name: [] for each in inputs}
    alone: dict[str, list[float]] = {each.name: [] for each in inputs}
    for i in tqdm(range(plan["epochs"]), desc="epochs", unit="round"):
        for each in inputs:
            if not each.slow or i < plan["slow_epochs"]:
                seconds[each.name].append(_epoch(model, data[each.name]))
                alone[each.name].append(_without_model(data[each.name]))
    medians = {name: statistics.median(of_input) for name, of_input in seconds.items()}
    return [
        {
            "input": each.name,
            "classes": list(part.class_names),
            "images": len(images),
            "batch": BATCH,
            "epochs": len(seconds[each.name]),
            "seconds": round(medians[each.name], 3),
            "input_seconds": round(statistics.median(alone[each.name]), 4),
            "baseline": each.baseline,
            "ratio": round(medians[each.name] / medians[each.baseline], 3),
            "goal": each.goal,
        }
        for each in inputs
    ]


class Input(NamedTuple):
    name: str
    baseline: str
    make: Callable  # from images and labels to what a model is fitted on
    goal: float | None = None  # at most so many times as slow as the baseline
    slow: bool = False


def input_pipelines(seed: int) -> tuple[Input, ...]:
    """Each way to put CLAHE before the model, and the two without."""
    bridge = keras_bridge.as_preprocessing_function(contrast.clahe)
    mapped = keras_bridge.as_dataset_map(contrast.clahe)
    generator = functools.partial(_generator, seed=seed)
    dataset = functools.partial(_dataset, seed=seed)
    old, new = "ImageDataGenerator", "tf.data"
    return (
        Input(old, old, generator),
        Input(
            f"{old}, the post's line",
            old,
            functools.partial(generator, function=_the_posts_line, rescale=None),
            slow=True,
        ),
        Input(
            f"{old}, `as_preprocessing_function(clahe)`",
            old,
            functools.partial(generator, function=bridge),
            goal=1.25,
        ),
        Input(new, new, dataset),
        Input(
            f"{new}, `as_dataset_map(clahe)`",
            new,
            functools.partial(dataset, function=mapped),
            goal=1.1,
        ),
    )


def _the_posts_line(image):
    return skimage.exposure.equalize_adapthist(image / 255, clip_limit=0.03)


def _generator(images, labels, seed, function=None, rescale=1 / 255):
    from tensorflow.keras.preprocessing.image import ImageDataGenerator

    generator = ImageDataGenerator(preprocessing_function=function, rescale=rescale)
    return generator.flow(images, labels, batch_size=BATCH, seed=seed)


def _dataset(images, labels, seed, function=None):
    import tensorflow as tf

    batches = tf.data.Dataset.from_tensor_slices((images, labels))
    batches = batches.shuffle(len(images), seed).batch(BATCH)
    if function is not None:
        batches = batches.map(function, tf.data.AUTOTUNE)
    floats = batches.map(lambda x, y: (tf.cast(x, tf.float32) / 255, y), tf.data.AUTOTUNE)
    return floats.prefetch(tf.data.AUTOTUNE)


def _epoch(model, data):
    start = time.perf_counter()
    model.fit(data, epochs=1, shuffle=False, verbose=0)  # the inputs shuffle by themselves
    return time.perf_counter() - start


def _without_model(data):
    start = time.perf_counter()
    for _ in itertools.islice(data, len(data)):
        pass
    return time.perf_counter() - start
