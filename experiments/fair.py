"""Studies D to G: does contrast help a network that has learned? plan.md says what is asked.

Every run trains a network with flips and crops under one arm, and keeps its answer for every test
image, as it is and, but for study F, under twelve corruptions.
"""

import base64
import dataclasses
import functools
import hashlib
import io
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from augment_utils import training
from augment_utils.corruptions import (
    CORRUPTIONS,
    LOCAL_CORRUPTIONS,
    MORE_CORRUPTIONS,
    SEVERITIES,
)
from augment_utils.datasets import Dataset

if TYPE_CHECKING:
    import keras
PLAN = Path(__file__).with_name("plan.md")
BATCH = 128
CLEAN = "clean"
ALL_CORRUPTIONS = CORRUPTIONS | MORE_CORRUPTIONS | LOCAL_CORRUPTIONS
CORRUPTED = [f"{name} {severity}" for name in ALL_CORRUPTIONS for severity in SEVERITIES]

SMOKE = {"sizes": {400: 1}, "seeds": 2, "test": 100, "corrupted": 40}
CLASS = {"sizes": {1_000: 8}, "seeds": 2, "test": 500, "corrupted": 200}
TIERS = {  # as training.TIERS; every image drawn is trained on
    "smoke": {study: SMOKE for study in "DEFG"},
    "class": {study: CLASS for study in "DEFG"},
    "paper": {
        "D": {"sizes": {50_000: 14}, "seeds": 6, "test": 10_000, "corrupted": 2_000},
        "E": {"sizes": {2_000: 240}, "seeds": 8, "test": 10_000, "corrupted": 2_000},
        "F": {"sizes": {5_170: 60}, "seeds": 8, "test": 1_017, "corrupted": 0},
        "G": {"sizes": {50_000: 14}, "seeds": 4, "test": 10_000, "corrupted": 2_000},
    },
}


class Arm(NamedTuple):
    """What is done to the images, which are bytes; the result goes to the network as v / 255."""

    transform: Callable[[np.ndarray], np.ndarray] | None = None
    share: float = 1.0  # of training images in each epoch; at 1 test images are transformed too
    jitter: bool = False
    moves: bool = True  # flips and crops
    quality: int | None = None  # of the JPEG as which all images are written before all else


def standardize(images: np.ndarray) -> np.ndarray:
    """Each channel of each image to a mean of 128 and a standard deviation of 64, as float32."""
    floats = images.astype(np.float32)
    mean, deviation = (f(axis=(1, 2), keepdims=True) for f in (floats.mean, floats.std))
    return 128 + 64 * (floats - mean) / np.maximum(deviation, 1)


def jitter(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another gamma (2/3 to 3/2), contrast and brightness (both x 0.6 to 1.4) for each image."""
    shape = (len(images), 1, 1, 1)
    gamma = np.exp(rng.uniform(-np.log(1.5), np.log(1.5), shape)).astype(np.float32)
    factor, light = rng.uniform(0.6, 1.4, (2, *shape)).astype(np.float32)
    unit = (images / np.float32(255)) ** gamma
    mean = unit.mean(axis=(1, 2, 3), keepdims=True)
    return np.clip(((unit - mean) * factor + mean) * light, 0, 1) * 255


ARMS = {
    "nothing": Arm(moves=False),
    "none": Arm(),
    "standardization": Arm(standardize),
    "jitter": Arm(jitter=True),
    **{
        name: Arm(training.TRANSFORMS[name])
        for name in ("stretching", "HE channel", "HE value", "AHE", "CLAHE")
    },
    "CLAHE, random": Arm(training.TRANSFORMS["CLAHE"], share=0.5),
}


def resnet20(classes: int, steps: int, seed: int | None = None) -> "keras.Model":
    """Twenty layers in three groups of three residual blocks: 274,042 parameters for ten classes.

    With 1 x 1 convolutions where the size changes. It takes what :func:`training.fast_cnn` takes,
    and trains as that does.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun: Deep residual learning for image recognition. CVPR 2016.
    """
    like = training.fast_cnn(classes, steps, seed)
    from keras import Model, initializers, layers  # slow to import

    rng = np.random.default_rng(seed)

    def convolution(x, filters, stride=1, side=3):
        he = initializers.HeNormal(int(rng.integers(2**31)))
        options = {"padding": "same", "use_bias": False, "kernel_initializer": he}
        x = layers.Conv2D(filters, side, strides=stride, **options)(x)
        return layers.BatchNormalization(momentum=0.9)(x)

    images = layers.Input((32, 32, 3))
    x = layers.ReLU()(convolution(layers.Rescaling(4, -2)(images), 16))
    for filters in (16, 32, 64):
        for block in range(3):
            stride = 2 if filters > 16 and block == 0 else 1
            inner = layers.ReLU()(convolution(x, filters, stride))
            skipped = convolution(x, filters, stride, side=1) if stride > 1 else x
            x = layers.ReLU()(layers.Add()([convolution(inner, filters), skipped]))
    last = initializers.GlorotUniform(int(rng.integers(2**31)))
    x = layers.GlobalAveragePooling2D()(x)
    model = Model(images, layers.Dense(classes, kernel_initializer=last)(x), name="resnet20")
    model.compile(like.optimizer, like.loss, metrics=["accuracy"])
    return model


class Study(NamedTuple):
    """Its arms and its network."""

    arms: dict[str, Arm]
    network: Callable[..., "keras.Model"] = training.fast_cnn


EXACT, REENCODED = "exact", "re-encoded"
STUDIES = {
    "D": Study(ARMS),
    "E": Study(ARMS),
    "F": Study(
        {
            f"{name}, {pixels}": ARMS[name]._replace(quality=quality)
            for pixels, quality in ((EXACT, None), (REENCODED, 75))
            for name in ("none", "HE channel", "AHE", "CLAHE")
        }
    ),
    "G": Study(
        {name: ARMS[name] for name in ("none", "standardization", "HE channel", "AHE", "CLAHE")},
        resnet20,
    ),
}


def reencoded(dataset: Dataset, quality: int) -> Dataset:
    """The same with every image written as JPEG, with colour of half the size, and read again."""

    def reencode(image):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling="4:2:0")
        return np.asarray(Image.open(file))

    train, test = (np.stack([*map(reencode, x)]) for x in (dataset.x_train, dataset.x_test))
    return dataclasses.replace(dataset, x_train=train, x_test=test)


def plan_text(study: str) -> tuple[str, str]:
    """What plan.md says of all studies, and of one."""
    common, *parts = re.split(r"^## (?=Study)", PLAN.read_text("utf-8"), flags=re.MULTILINE)
    (own,) = (part for part in parts if part.startswith(f"Study {study}:"))
    return common.strip(), own.strip()


def plan_digest(study: str) -> str:
    """SHA-256 of the words of both, by which a record tells which plan it followed."""
    words = " ".join(plan_text(study)).split()
    return hashlib.sha256(" ".join(words).encode()).hexdigest()


def train_and_score(
    dataset: Dataset, study: str, arm: str, images: int, seed: int, sizes: dict
) -> dict:
    """What a record says of the model, of the training, and of the test images.

    ``answers`` has the class that the network gave each test image, ``right`` whether it was right
    on as many as ``sizes`` says, the first of each class, under each corruption and severity.
    """
    arms, network = STUDIES[study]
    how, plan = arms[arm], plan_digest(study)
    if how.quality:
        dataset = reencoded(dataset, how.quality)
    whole = images == len(dataset.x_train)
    part = dataset if whole else dataset.subset(train=images, seed=seed)
    epochs, steps = sizes["epochs"], max(1, images // BATCH)
    classes = len(dataset.class_names)
    model = network(classes, epochs * steps, seed)
    history = model.fit(
        batches(part.x_train, part.y_train, how, seed),
        epochs=epochs,
        steps_per_epoch=steps,
        shuffle=False,
        verbose=0,
    ).history
    scores, answers, right = {}, "", {}
    for name, (labels, test_images) in test_sets(dataset, sizes["corrupted"]).items():
        predicted = predict(model, test_images, how)
        scores[name] = round(float(np.mean(predicted == labels)), 6)
        if name == CLEAN:
            answers = _text((predicted - labels).astype(np.int8))
        else:
            right[name] = _text(np.packbits(predicted == labels))
    return {
        "plan": plan,
        "model": {
            "name": network.__name__, "parameters": model.count_params(), "precision": model.dtype
        },
        "history": {key: [round(v, 6) for v in values] for key, values in history.items()},
        "scores": scores,
        "answers": answers,
        "right": right,
    }  # fmt: skip


def batches(
    images: np.ndarray, labels: np.ndarray, arm: Arm, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Without end, batches of each epoch in another order: floats in 0..1 and one-hot labels.

    A seed gives every arm the same order, flips and crops.
    """
    for_order, for_moves, for_arm = np.random.default_rng(seed).spawn(3)
    changed = images if arm.transform is None else arm.transform(images)
    one_hot = np.eye(labels.max() + 1, dtype=np.float32)[labels]
    size = min(BATCH, len(images))
    while True:
        order = for_order.permutation(len(images))
        for start in range(0, len(images) - size + 1, size):
            rows = order[start : start + size]
            batch = changed[rows]
            if arm.share < 1:
                kept = for_arm.random(size) >= arm.share
                batch[kept] = images[rows[kept]]
            if arm.moves:
                batch = training.flip_and_crop(batch, for_moves)
            if arm.jitter:
                batch = jitter(batch, for_arm)
            yield batch.astype(np.float32) / 255, one_hot[rows]


@functools.lru_cache(1)  # every run asks for the same
def test_sets(dataset: Dataset, corrupted: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{name: labels and images} of the test images as they are, and of some corrupted ones."""
    clean = {CLEAN: (dataset.y_test, dataset.x_test)}
    if not corrupted:
        return clean
    part = dataset.subset(train=len(dataset.class_names), test=corrupted)
    return clean | {
        f"{name} {severity}": (part.y_test, corrupt(part.x_test, severity))
        for name, corrupt in ALL_CORRUPTIONS.items()
        for severity in SEVERITIES
    }


def predict(model: "keras.Model", images: np.ndarray, arm: Arm) -> np.ndarray:
    """The class that the model gives each image, seen as it is and in a mirror."""
    if arm.transform and arm.share == 1:
        images = arm.transform(images)
    classes = []
    for start in range(0, len(images), 500):
        part = images[start : start + 500].astype(np.float32) / 255
        both = model.predict_on_batch(part) + model.predict_on_batch(part[:, :, ::-1])
        classes.append(np.argmax(both, axis=1))
    return np.concatenate(classes)


def is_right(record: dict, name: str) -> np.ndarray:
    """Whether a run was right on each test image of one of :func:`test_sets`: (N,) bool."""
    if name == CLEAN:
        return _array(record["answers"], np.int8) == 0
    return np.unpackbits(_array(record["right"][name], np.uint8)).astype(bool)


def _text(array):
    return base64.b85encode(zlib.compress(array.tobytes(), 9)).decode()


def _array(text, dtype):
    return np.frombuffer(zlib.decompress(base64.b85decode(text)), dtype)
