"""Assignment 3: what is right, and what each part is asked."""

import functools
import random
import threading

import numpy as np
from scipy import stats
from skimage import exposure

from assignments.judge import Part, Wrong, brief, same
from augment_utils import training
from augment_utils.datasets import load_photo_patches

IMAGES, EPOCHS = 400, 6  # as in the notebook's cell `run`
AGAIN = 2  # of the student's eight trainings are done here again, and which, nobody knows before
ONE_AT_A_TIME = threading.Lock()  # Keras' seeds are the process's


def keep_scale(image, transform):
    return 255 * transform(image / 255)


def both_ways(model, images, labels, transform):
    return tuple(training.accuracy(model, x, labels) for x in (images, transform(images)))


def measure(run, name, seeds):
    none = np.array([run("none", seed)[0] for seed in seeds])
    return none, np.array([run(name, seed)[1] for seed in seeds])


def paired_interval(some, others):
    d = np.asarray(some) - np.asarray(others)
    reach = stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d))
    return d.mean(), d.mean() - reach, d.mean() + reach


def verdict(low, high):
    return "better" if low > 0 else "worse" if high < 0 else "not distinguishable"


def check_scale(student):
    rng = np.random.default_rng(0)
    bright, dark = rng.uniform(0, 255, (20, 24, 3)), rng.uniform(0, 9, (9, 8, 3))
    for image in (student.own.image(1) * 0.97, bright, dark):
        image = image.astype(np.float32)
        for transform in (square_root, stretched, negative, exposure.equalize_adapthist):
            found = student.call("keep_scale", image, transform)
            if not isinstance(found, np.ndarray) or found.dtype.kind != "f":
                raise Wrong(f"keep_scale is to return an array of floats, got {brief(found)}")
            what = f"keep_scale({brief(image)}, {transform.__name__})"
            same(what, found, keep_scale(image, transform), 1)
    yield 2


def square_root(unit):
    return np.sqrt(_checked(unit))


def stretched(unit):
    unit = _checked(unit)
    return (unit - unit.min()) / np.ptp(unit)


def negative(unit):
    return 1 - _checked(unit)


def _checked(unit):
    if not (np.min(unit) >= 0 and np.max(unit) <= 1):
        raise ValueError(f"the transform wants floats in 0..1, got up to {np.max(unit):g}")
    return np.asarray(unit)


def check_flip(student):
    rng = np.random.default_rng(1)
    share = student.own.choose("share", [0.1, 0.2, 0.3, 0.4])
    both = rng.integers(0, 256, (4000, 3, 4, 3), np.uint8), rng.random((4000, 2, 3, 1))
    for images in both:
        if mirrored(student, images, 0, 3).any() or not mirrored(student, images, 1, 3).all():
            raise Wrong("a probability of 0 mirrors no image, and one of 1 all of them")
    yield 1
    for images in both:
        for probability in (share, 0.05, 0.7):
            flips = mirrored(student, images, probability, 3)
            if abs(flips.mean() - probability) > 0.04:
                raise Wrong(f"with {probability}, {flips.mean():.2f} of the images were mirrored")
            if not np.array_equal(flips, mirrored(student, images, probability, 3)):
                raise Wrong("the same seed mirrored other images when called again")
            if np.array_equal(flips, mirrored(student, images, probability, 4)):
                raise Wrong("another seed mirrored the same images")
    yield 2


def mirrored(student, images, *arguments):
    """Which images a student's function mirrors."""
    found = student.call("flip_some", images, *arguments, copy=True)
    if not isinstance(found, np.ndarray) or (found.shape, found.dtype) != (
        images.shape,
        images.dtype,
    ):
        raise Wrong(f"flip_some keeps shape and dtype of {brief(images)}, got {brief(found)}")
    flips = (found == images[:, :, ::-1]).all(axis=(1, 2, 3))
    kept = (found == images).all(axis=(1, 2, 3))
    if not (flips ^ kept).all():
        raise Wrong("each image is mirrored left to right, or as it was, and in its place")
    return flips


def check_both(student):
    rng = np.random.default_rng(2)
    for threshold in (0.45, 0.5):
        model = brightness_above(threshold)
        images, labels = rng.integers(0, 256, (60, 3, 3, 3), np.uint8), rng.integers(0, 2, 60)
        for change in (negative_of_bytes, paler):
            found = student.call("both_ways", model, images, labels, change)
            if not isinstance(found, tuple | list | np.ndarray) or len(found) != 2:
                raise Wrong(f"both_ways is to return two numbers, got {brief(found)}")
            expected = both_ways(model, images, labels, change)
            for way, one, right in zip(("raw", "transformed"), found, expected, strict=True):
                same(f"the accuracy on {way} images", one, right, 1e-6)
    yield 3


def brightness_above(threshold):
    """A model that trains nothing: class 1 where an image is brighter than the threshold."""

    def model(x, *_, **options):
        x = np.asarray(x)
        if x.max() > 1:
            raise ValueError(f"the model wants images in 0..1, and got values up to {x.max():g}")
        bright = x.mean(axis=(1, 2, 3)) > threshold
        return np.stack([1.0 - bright, 1.0 * bright], axis=1)

    return model


def negative_of_bytes(images):
    return 255 - np.asarray(images)


def paler(images):
    return np.asarray(images) // 2 + np.uint8(40)


def check_pairs(student):
    draws = np.random.default_rng(5).random((3, 20))

    def made_up(name, seed, *_):
        raw, transformed, none = (float(one) for one in draws[:, int(seed)])
        return (none, none) if name == "none" else (raw, transformed)

    for seeds in ([7, 2, 9, 4], [11, 5]):
        found = student.call("measure", made_up, "CLAHE", seeds)
        if not isinstance(found, tuple | list | np.ndarray) or len(found) != 2:
            raise Wrong(f"measure is to return two arrays, got {brief(found)}")
        for which, row, one in zip(("none", "the condition"), (2, 1), found, strict=True):
            same(f"the accuracies of {which} for the seeds {seeds}", one, draws[row, seeds])
    yield 3


def check_interval(student):
    rng = np.random.default_rng(3)
    some = rng.normal(70, 4, 20)
    others = some + rng.normal(1, 1, 20)
    mean, low, _ = paired_interval(some, others)
    student.compare(paired_interval, some, others, within=0.1 * (mean - low))  # nearly right
    yield 1
    for n in (2, 4, 5, 8, 20):
        some, others = rng.normal(70, 4, n), rng.normal(71, 4, n)
        student.compare(paired_interval, some, others, within=1e-3)
    yield 3


def practice_table(own):
    """As the notebook makes it."""
    rng = own.rng("table")
    none = rng.uniform(60, 80) + rng.normal(0, 3, 8)
    with_contrast = none + rng.normal(rng.uniform(-3, 3), 2, 8)
    return with_contrast.round(2), none.round(2)


def check_numbers(student):
    mean, low, high = paired_interval(*practice_table(student.own))
    student.number("gain", [mean], 0.0101)
    yield 1
    student.number("gain_low", [low], 0.0101)
    student.number("gain_high", [high], 0.0101)
    yield 1


def check_measured(student):
    name = student.own.choose("contrast", [*training.TRANSFORMS])
    seeds = [10 * student.own.choose("seeds", range(100)) + i for i in range(4)]
    none, own = (student.value(one) for one in ("none", "own"))
    for which, found in (("none", none), ("own", own)):
        if np.shape(found) != (4,):
            raise Wrong(f"{which} is to be four accuracies, got {brief(found)}")
    trainings = [(one, place) for place in range(4) for one in ("none", name)]
    for one, place in random.SystemRandom().sample(trainings, AGAIN):
        accuracy = run(one, seeds[place])[one != "none"]
        found = own if one == name else none
        same(f"{one} with seed {seeds[place]}, trained again", found[place], accuracy, 0.006)
    yield 1
    expected = paired_interval(100 * np.asarray(own), 100 * np.asarray(none))
    for which, right in zip(("mean", "low", "high"), expected, strict=True):
        student.number(which, [right], 0.02)
    if student.value("answer") != verdict(*expected[1:]):
        raise Wrong(f"answer is {brief(student.value('answer'))}, and does not follow from it")
    yield 1


def run(name, seed):
    """As in the notebook."""
    photos = _photos()
    condition = training.CONDITIONS[name]
    with ONE_AT_A_TIME:
        split = training.draw_split(photos, IMAGES, seed)
        model = training.make_model("A", split, condition, EPOCHS, seed)
        training.train(model, split, condition, EPOCHS, seed)
        change = training.TRANSFORMS.get(name, np.copy)
        return both_ways(model, photos.x_test, photos.y_test, change)


@functools.cache
def _photos():
    return load_photo_patches(400, 100).subset(classes=("astronaut", "coffee"))


def check_figure(student):
    rng = np.random.default_rng(4)
    for n in (4, 7):
        some, others = rng.normal(70, 3, n), rng.normal(72, 3, n)
        figure = student.figure("draw", some, others)
        level = [one for one in figure.lines if len(one) > 1 and np.ptp(one) < 1e-6]
        drawn = [x for x in (*figure.lines, *figure.bars) if len(x) == n and np.ptp(x) > 1e-6]
        if not drawn:
            raise Wrong(f"no line and no bars of {n} values")
        for one in drawn:
            same("points or bars, the differences seed by seed,", one, some - others, 0.01)
        expected = sorted({0.0, *paired_interval(some, others)})
        heights = sorted({round(float(one[0]), 6) for one in level})
        same("the heights of the level lines", heights, expected, 0.01)
        if len(figure.labels) < 2:
            raise Wrong("say what the axes show")
    yield 2


PARTS = [
    Part("scale", check_scale, keep_scale),
    Part("flip", check_flip),
    Part("both", check_both, both_ways),
    Part("pairs", check_pairs, measure),
    Part("interval", check_interval, paired_interval),
    Part("numbers", check_numbers),
    Part("measured", check_measured),
    Part("figure", check_figure),
]
