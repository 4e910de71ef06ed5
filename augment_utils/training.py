"""Train a CNN under one condition with one seed: the two models, the conditions, the sizes."""

import csv
import functools
import importlib.metadata
import io
import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from augment_utils.contrast import (
    adaptive_histogram_equalization,
    clahe,
    contrast_stretching,
    histogram_equalization,
)
from augment_utils.datasets import Dataset
from augment_utils.keras_bridge import as_dataset_map, check_seed, quiet_startup

if TYPE_CHECKING:  # slow to import
    import keras
    import tensorflow as tf

TRANSFORMS: dict[str, Callable[..., np.ndarray]] = {
    "stretching": contrast_stretching,
    "HE joint": functools.partial(histogram_equalization, color="joint"),
    "HE channel": functools.partial(histogram_equalization, color="channel"),
    "HE value": functools.partial(histogram_equalization, color="value"),
    "AHE": adaptive_histogram_equalization,
    "CLAHE": clahe,
}
Tier = Literal["smoke", "class", "paper"]
TODAYS_ADADELTA = "Adadelta() of today"


class Condition(NamedTuple):
    """What is done to the training images."""

    transform: str | None = None  # a key of TRANSFORMS
    probability: float = 1.0  # that an image is transformed: 1 preprocesses, less augments
    augmentation: str | None = None  # "flips" or "geometric"
    learning_rate: float | None = None  # another than the model's


CONDITIONS = {
    "none": Condition(),
    **{name: Condition(name) for name in TRANSFORMS},
    **{f"{name}, p = 0.5": Condition(name, 0.5) for name in TRANSFORMS},
    TODAYS_ADADELTA: Condition(learning_rate=0.001),
}

# Study A is the post's experiment repaired, study B has ten classes. `sizes` maps the number
# of images drawn, a tenth of which validates, to epochs; `corrupted` is how many of the test
# images are scored under each corruption too (0: none). Study C trains nothing and looks at
# `sizes` test images. `seeds` are 0, 1, ...
TIERS: dict[str, dict[str, dict]] = {
    "smoke": {
        "A": {"sizes": {60: 1}, "seeds": 2, "test": 40, "corrupted": 0},
        "B": {"sizes": {100: 1}, "seeds": 2, "test": 100, "corrupted": 20},
        "C": {"sizes": (20,), "seeds": 2},
    },
    "class": {
        "A": {"sizes": {4_000: 10}, "seeds": 3, "test": 2_000, "corrupted": 0},
        "B": {"sizes": {1_000: 8}, "seeds": 3, "test": 500, "corrupted": 200},
        "C": {"sizes": (500,), "seeds": 3},
    },
    "paper": {
        "A": {"sizes": {10_000: 10, 2_000: 10}, "seeds": 10, "test": 2_000, "corrupted": 0},
        "B": {"sizes": {10_000: 15, 1_000: 30}, "seeds": 5, "test": 10_000, "corrupted": 2_000},
        "C": {"sizes": (2_000,), "seeds": 5},
    },
}
MODELS = {"A": "the_posts_cnn", "B": "small_cnn"}
BATCH = 64  # as in the post
VALIDATION = {"raw": "validation", "transformed": "validation_transformed"}  # names of accuracies


class Plan(NamedTuple):
    """What a notebook trains on."""

    images: int
    epochs: int
    seeds: int
    test: int
    corrupted: int


def cats_and_dogs(dataset: Dataset) -> Dataset:
    """Study A's part of a data set: its cats and dogs, or, where it has no such, two classes."""
    names, pair = dataset.class_names, ("cat", "dog")
    return dataset.subset(classes=pair if {*pair} <= {*names} else names[:2])


def plan_for(tier: Tier, study: Literal["A", "B"], dataset: Dataset) -> Plan:
    """A tier's smallest sizes, cut to what a data set has: photo patches are fewer than CIFAR-10.

    ValueError: an unknown tier or study.
    """
    if tier not in TIERS or study not in MODELS:
        raise ValueError(
            f"got tier={tier!r} and study={study!r}, expected one of {', '.join(TIERS)} and one "
            f"of {', '.join(MODELS)}"
        )
    row, classes = TIERS[tier][study], len(dataset.class_names)
    images = min(row["sizes"])

    def cut(wanted, labels, unit):
        there = int(np.bincount(labels, minlength=classes).min()) * classes
        return min(wanted, there) // unit * unit

    return Plan(
        cut(images, dataset.y_train, 10 * classes),
        row["sizes"][images],
        row["seeds"],
        cut(row["test"], dataset.y_test, classes),
        cut(row["corrupted"], dataset.y_test, classes),
    )


def the_posts_cnn(
    classes: int = 2, learning_rate: float = 1.0, seed: int | None = None
) -> "keras.Model":
    """The CNN of the 2017 post: 25,546 parameters for two classes.

    Parameters
    ----------
    classes : int
    learning_rate : float
        Of Adadelta. 1.0 was Keras' default in 2017; today's is 0.001.
    seed : int or None
        Of the first weights and of dropout. None leaves both to Keras.

    Returns
    -------
    keras.Model
        Compiled; (N, 32, 32, 3) floats in 0..1 to (N, classes) probabilities.

    References
    ----------
    S. Lau: Image Augmentation for Deep Learning. Towards Data Science, 2017; its layers are in
    the notebook beside it (github.com/sukilau/Ziff-deep-learning).
    M. D. Zeiler: ADADELTA: an adaptive learning rate method. arXiv:1212.5701, 2012.
    """
    keras = _keras()
    layers, seeds = keras.layers, _seeds(seed)
    model = keras.Sequential([layers.Input((32, 32, 3))])
    model.add(layers.Conv2D(4, 3, activation="relu", kernel_initializer=_glorot(seeds)))
    model.add(layers.Conv2D(8, 3, activation="relu", kernel_initializer=_glorot(seeds)))
    model.add(layers.MaxPooling2D())
    model.add(layers.Dropout(0.25, seed=next(seeds)))
    model.add(layers.Flatten())
    model.add(layers.Dense(16, activation="relu", kernel_initializer=_glorot(seeds)))
    model.add(layers.Dropout(0.5, seed=next(seeds)))
    model.add(layers.Dense(classes, activation="softmax", kernel_initializer=_glorot(seeds)))
    return _compiled(model, keras.optimizers.Adadelta(learning_rate))


def small_cnn(
    classes: int = 10,
    learning_rate: float = 0.002,
    steps: int | None = None,
    seed: int | None = None,
) -> "keras.Model":
    """Four convolutions with batch normalization, then global average pooling: 71,242 parameters.

    Arguments and result as :func:`the_posts_cnn`, with Adam; over so many ``steps``, its batches,
    the rate falls to 0 along half a cosine (None: it stays).
    """
    keras = _keras()
    layers, seeds = keras.layers, _seeds(seed)
    model = keras.Sequential([layers.Input((32, 32, 3))])
    for filters, strides in ((32, 2), (48, 1), (64, 2), (48, 1)):
        first = {"use_bias": False, "kernel_initializer": _glorot(seeds)}
        model.add(layers.Conv2D(filters, 3, strides, padding="same", **first))
        model.add(layers.BatchNormalization(momentum=0.9))  # 0.99 needs more batches than we have
        model.add(layers.ReLU())
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(classes, activation="softmax", kernel_initializer=_glorot(seeds)))
    if steps is not None:
        learning_rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    return _compiled(model, keras.optimizers.Adam(learning_rate))


def fast_cnn(classes: int, steps: int, seed: int | None = None) -> "keras.Model":
    """Five convolutions that learn quickly: 280,288 parameters for ten classes.

    Three blocks, each of which begins with a convolution and a max-pool, as in airbench. SGD with
    momentum; over so many ``steps``, its batches, the rate climbs to 0.25 in the first quarter
    and falls to 0 along half a cosine. It takes floats as :func:`the_posts_cnn` and gives
    logits; its labels are one-hot, smoothed by 0.2.

    References
    ----------
    K. Jordan: 94% on CIFAR-10 in 3.29 Seconds on a Single GPU. arXiv:2404.00498, 2024.
    """
    keras = _keras()
    layers, seeds = keras.layers, _seeds(seed)

    def convolution(filters):
        first = {"use_bias": False, "kernel_initializer": _glorot(seeds)}
        return layers.Conv2D(filters, 3, padding="same", **first)

    def normalized():
        return [layers.BatchNormalization(momentum=0.9), layers.ReLU()]

    parts = [convolution(32), layers.MaxPooling2D(), *normalized()]
    for filters in (64, 128):
        parts += [convolution(filters), layers.MaxPooling2D(), *normalized()]
        parts += [convolution(filters), *normalized()]
    last = layers.Dense(classes, use_bias=False, kernel_initializer=_glorot(seeds))
    model = keras.Sequential(
        [
            layers.Input((32, 32, 3)),
            layers.Rescaling(4, -2),  # to about a mean of 0 and a standard deviation of 1
            *parts,
            layers.GlobalMaxPooling2D(),
            last,
            layers.Rescaling(1 / 8),
        ]
    )
    climb = max(1, steps // 4)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - climb), warmup_target=0.25, warmup_steps=climb
    )
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=0.005),
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2),
        metrics=["accuracy"],
    )
    return model


def flip_and_crop(images: np.ndarray, rng: np.random.Generator, pixels: int = 4) -> np.ndarray:
    """Mirror half of the images, and move each by up to so many pixels, reflected at the edge.

    (N, H, W, C), any dtype; the result is a new array of the same shape and dtype.
    """
    around = ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
    padded, moved = np.pad(images, around, mode="reflect"), np.empty_like(images)
    height, width = images.shape[1:3]
    for image, source, (top, left) in zip(
        moved, padded, rng.integers(0, 2 * pixels + 1, (len(images), 2)), strict=True
    ):
        image[:] = source[top : top + height, left : left + width]
    mirrored = rng.random(len(images)) < 0.5
    moved[mirrored] = moved[mirrored, :, ::-1]
    return moved


class Split(NamedTuple):
    """Training and validation images, (N, 32, 32, 3) uint8, and labels, (N,) int."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_validation: np.ndarray
    y_validation: np.ndarray


def draw_split(dataset: Dataset, images: int, seed: int) -> Split:
    """Draw training images, and a tenth of them for validation, as many of each class.

    ValueError: ``images`` is no multiple of ten times the number of classes, or there are too few.
    """
    classes = len(dataset.class_names)
    if images < 10 * classes or images % (10 * classes):
        raise ValueError(
            f"got images={images}, expected a multiple of {10 * classes}: a tenth is for "
            f"validation, and the {classes} classes have the same share"
        )
    part = dataset.subset(train=images, seed=seed)
    rng, validates = np.random.default_rng(seed), np.zeros(images, bool)
    for label in range(classes):
        of_class = np.flatnonzero(part.y_train == label)
        validates[rng.choice(of_class, images // (10 * classes), replace=False)] = True
    x, y = part.x_train, part.y_train
    return Split(x[~validates], y[~validates], x[validates], y[validates])


def make_batches(
    images: np.ndarray, labels: np.ndarray, condition: Condition, seed: int
) -> "tf.data.Dataset":
    """Shuffled batches of images, uint8 to float32 in 0..1, and labels, under a condition.

    The seed decides the order, the choice of images and the augmentation.
    """
    import tensorflow as tf

    if condition.transform and condition.probability == 1:
        images = TRANSFORMS[condition.transform](images)  # the same in every epoch: once is enough
    batches = tf.data.Dataset.from_tensor_slices((images, labels))
    batches = batches.shuffle(len(images), seed).batch(BATCH)
    if condition.transform and condition.probability < 1:
        transform = TRANSFORMS[condition.transform]
        batches = batches.map(as_dataset_map(transform, condition.probability, seed))
    batches = batches.map(lambda x, y: (tf.cast(x, tf.float32) / 255, y))
    for layer in _augmentation(condition.augmentation, seed):
        # one at a time: a layer's seed does not hold under parallel calls
        batches = batches.map(lambda x, y, layer=layer: (layer(x, training=True), y))
    return batches.prefetch(tf.data.AUTOTUNE)


def train(
    model: "keras.Model",
    split: Split,
    condition: Condition,
    epochs: int,
    seed: int,
    progress: Callable[[int], object] | None = None,
) -> dict[str, list[float]]:
    """Fit a model, and score it on the validation images after every epoch.

    ``progress`` is called after every epoch with the number of epochs done.

    The result has a list with one number an epoch for ``loss`` and ``accuracy`` on the training
    batches; ``validation`` accuracy on the images as they are; and, where every training image was
    transformed, ``validation_transformed`` on the same images transformed.
    """
    history: defaultdict[str, list[float]] = defaultdict(list)
    ways = scored_ways(split.x_validation, condition)
    batches = make_batches(split.x_train, split.y_train, condition, seed)
    for epoch in range(epochs):
        metrics = model.fit(batches, epochs=1, shuffle=False, verbose=0).history
        history["loss"] += metrics["loss"]
        history["accuracy"] += metrics["accuracy"]
        for way, images in ways.items():
            history[VALIDATION[way]].append(accuracy(model, images, split.y_validation))
        if progress:
            progress(epoch + 1)
    return dict(history)


def scored_ways(images: np.ndarray, condition: Condition) -> dict[str, np.ndarray]:
    """The images as they are, and transformed too if all training images were: {way: images}."""
    ways = {"raw": images}
    if condition.transform and condition.probability == 1:
        ways["transformed"] = TRANSFORMS[condition.transform](images)
    return ways


class Use(NamedTuple):
    """One use of contrast in the published runs, by one measure."""

    verdict: str  # against none; with * if it survives Holm's correction; "" if not compared
    words: str
    numbers: np.ndarray  # one for each seed


def published_runs() -> tuple[str, dict[tuple[str, int, str], dict[str, Use]]]:
    """Where the published runs come from, and {(study, images, measure): {use: :class:`Use`}}.

    From results/published.csv, which begins with an explanation; opened without its repository, a
    notebook fetches it. FileNotFoundError: it is not there, and cannot be fetched.
    """
    places = Path("../results/published.csv"), Path("published.csv")
    text = next((path.read_text("utf-8") for path in places if path.exists()), None)
    _, provenance, *lines = (text or _fetch_published()).splitlines()
    runs: dict[tuple[str, int, str], dict[str, Use]] = {}
    for study, images, measure, use, verdict, words, *cells in list(csv.reader(lines))[1:]:
        numbers = np.array([float(cell) for cell in cells if cell])
        runs.setdefault((study, int(images), measure), {})[use] = Use(verdict, words, numbers)
    return provenance.removeprefix("# "), runs


def accuracy(model: "keras.Model", images: np.ndarray, labels: np.ndarray) -> float:
    """Share of the images, uint8, whose most probable class is their label's, (N,) int."""
    if np.shape(labels) != (len(images),) or images.dtype != np.uint8:
        raise ValueError(
            f"got {images.dtype} images and labels of shape {np.shape(labels)}, expected uint8 "
            f"and ({len(images)},), such as `labels.ravel()`"
        )
    parts = [images[i : i + 500].astype(np.float32) / 255 for i in range(0, len(images), 500)]
    predicted = [np.argmax(model(part, training=False), axis=1) for part in parts]
    return float(np.mean(np.concatenate(predicted) == labels))


def make_model(
    study: str, split: Split, condition: Condition, epochs: int, seed: int
) -> "keras.Model":
    """The study's model; the seed decides its first weights, the same under each condition."""
    if study not in MODELS:
        raise ValueError(f"got study={study!r}, expected one of {', '.join(MODELS)}")
    _keras().utils.set_random_seed(seed)  # which decides the order of tf.data's batches, too
    classes = len(np.unique(split.y_train))
    if study == "B":
        return small_cnn(classes, steps=epochs * -(-len(split.x_train) // BATCH), seed=seed)
    rate = {} if condition.learning_rate is None else {"learning_rate": condition.learning_rate}
    return the_posts_cnn(classes, **rate, seed=seed)


def _seeds(seed):
    """One for each layer that draws random numbers; None for each, which is Keras' choice."""
    draws = random.Random(check_seed(seed))
    while True:
        yield None if seed is None else draws.randint(1, 10**9)


def _glorot(seeds):
    """Keras' default for the first weights, with the next of the seeds."""
    return _keras().initializers.GlorotUniform(next(seeds))


def _augmentation(name, seed):
    """The Keras layers of an augmentation."""
    layers = _keras().layers
    flips = [layers.RandomFlip("horizontal", seed=seed)]
    moves = [
        layers.RandomTranslation(0.1, 0.1, fill_mode="nearest", seed=seed + 1),
        layers.RandomRotation(15 / 360, fill_mode="nearest", seed=seed + 2),
    ]
    return {None: [], "flips": flips, "geometric": flips + moves}[name]


def _compiled(model, optimizer):
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def _keras():
    with quiet_startup():
        import keras
        import tensorflow as tf
    # it warns of many models, each traced anew, as of one model that is traced too often
    tf.get_logger().setLevel("ERROR")
    return keras


def _fetch_published():
    """The text of published.csv from the public address, which an installed module knows."""
    import pooch  # slow to import, and needed only here

    fetched, download = io.BytesIO(), pooch.HTTPDownloader(timeout=(5, 30))
    try:
        urls = importlib.metadata.metadata("augment-utils").get_all("Project-URL", [])
        address = dict(url.split(", ") for url in urls)["Repository"]
        download(f"{address}/raw/main/results/published.csv", fetched, None)
    except (ImportError, KeyError, OSError) as error:
        raise FileNotFoundError(
            "there is no published.csv, and it could not be fetched: copy it from the folder "
            "results of the repository to beside this notebook"
        ) from error
    return fetched.getvalue().decode()
