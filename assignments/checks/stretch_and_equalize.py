"""Assignment 1: what is right, and what each part is asked."""

import numpy as np

from assignments.judge import Part, Wrong, same


def histogram(grey):
    return np.bincount(grey.ravel(), minlength=256)


def cdf(grey):
    return histogram(grey).cumsum() / grey.size


def stretch(grey, low, high):
    p, q = np.percentile(grey, (low, high))
    if p == q:
        return grey.copy()
    return np.rint(np.clip(255 * (grey - p) / (q - p), 0, 255)).astype(np.uint8)


def equalize(grey):
    return np.rint(255 * cdf(grey)).astype(np.uint8)[grey]


def equalize_value(rgb):
    value = rgb.max(axis=-1)
    factor = equalize(value) / np.maximum(value, 1)
    return np.rint(rgb * factor[..., np.newaxis]).astype(np.uint8)


def images(student):
    """A photograph, noise that is not square, and one with 300 pixels of one level."""
    rng = np.random.default_rng(0)
    full = np.full((20, 25), 200, np.uint8)
    full[:8] = rng.integers(0, 256, (8, 25), np.uint8)
    return student.own.image(1).max(axis=-1), rng.integers(0, 256, (7, 5), np.uint8), full


def check_histogram(student):
    for image in (*images(student), np.full((4, 4), 255, np.uint8), np.full((32, 32), 0, np.uint8)):
        student.compare(histogram, image, by_hand=True)
    yield 2


def check_cdf(student):
    for image in images(student):
        student.compare(cdf, image, within=1e-6, by_hand=True)
    yield 3


def check_stretch(student):
    for image in images(student):
        for low, high in ((2, 98), (0, 100), (5, 50)):
            student.compare(stretch, image, low, high, within=1, by_hand=True, dtype=np.uint8)
    yield 3
    for level in (77, 0, 255):
        flat = np.full((4, 6), level, np.uint8)
        student.compare(stretch, flat, 2, 98, by_hand=True, copy=True, dtype=np.uint8)
    yield 1


def check_equalize(student):
    for within in (6, 1):  # half of the points for what is nearly right
        for image in images(student):
            student.compare(equalize, image, within=within, by_hand=True, dtype=np.uint8)
        yield 2


def check_colour(student):
    rng = np.random.default_rng(1)
    for image in (student.own.image(2), rng.integers(0, 256, (6, 5, 3), np.uint8)):
        found = student.call("equalize_value", image, by_hand=True)
        lit = image.any(axis=-1, keepdims=True)
        expected = equalize_value(image)
        if isinstance(found, np.ndarray) and found.shape == image.shape:
            found = np.where(lit, found, 0).astype(found.dtype)  # black may become grey
            expected = np.where(lit, expected, 0)
        # V may be a level off, and what is made of it cut instead of rounded
        same("equalize_value, of a colour image,", found, expected, 2, np.uint8)
    yield 3


def own_grey(student):
    return student.own.image().max(axis=-1)


def check_brightness(student):
    bounds = student.own.choose("low", [1, 2, 3, 4]), student.own.choose("high", [92, 94, 96, 98])
    stretched = student.results(stretch, own_grey(student), *bounds, within=1)
    student.number("brightness", [image.mean() for image in stretched], 0.1)
    yield 1


def check_moved(student):
    grey = own_grey(student)
    moved = [np.abs(e.astype(int) - grey).mean() for e in student.results(equalize, grey, within=1)]
    student.number("moved", moved, 0.1, "; beware of uint8 below 0")
    yield 1


def check_gain(student):
    grey = own_grey(student)
    gain = [e.std() / grey.std() for e in student.results(equalize, grey, within=1)]
    student.number("gain", gain, 0.005)
    yield 1


def check_figure(student):
    for image in images(student)[:2]:
        figure, wrong = student.figure("draw", image), []
        for equal in student.results(equalize, image, within=1):  # ours, or their own a level off
            try:
                only(
                    figure.lines,
                    cdf(equal.astype(np.uint8)),
                    1e-3,
                    "line",
                    "the CDF after equalization",
                )
                what = "the histogram after equalization"
                only(figure.bars, histogram(equal.astype(np.uint8)), 0, "group of bars", what)
                break
            except Wrong as error:
                wrong.append(error)
        else:
            raise wrong[0]
        if len(figure.labels) < 2:
            raise Wrong("say what the axes show")
    yield 2


def only(drawn, expected, within, kind, what):
    """See that, of the lines or bars with 256 values, all show what is expected."""
    long = [values for values in drawn if len(values) == 256]
    if not long:
        raise Wrong(f"no {kind} of 256 values shows {what}")
    for values in long:
        same(f"the {kind} that is to show {what}", values, expected, within)


PARTS = [
    Part("histogram", check_histogram, histogram),
    Part("cdf", check_cdf, cdf),
    Part("stretch", check_stretch, stretch),
    Part("equalize", check_equalize, equalize),
    Part("colour", check_colour, equalize_value),
    Part("brightness", check_brightness),
    Part("moved", check_moved),
    Part("gain", check_gain),
    Part("figure", check_figure),
]
