"""Assignment 2: what is right, and what each part is asked."""

import numpy as np

import augment_utils as au
from assignments.judge import Part, Wrong, brief, same, shown

KERNEL_SIZES = (4, 8, 16)
CLIP_LIMITS = (0.004, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5, 1)


def tile_histograms(grey, side):
    rows, columns = grey.shape[0] // side, grey.shape[1] // side
    tiles = grey.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(rows * columns, -1)
    return np.array([np.bincount(t, minlength=256) for t in tiles]).reshape(rows, columns, 256)


def clip_histogram(histogram, limit):
    kept = np.minimum(histogram, limit)
    return kept + (histogram - kept).sum(axis=-1, keepdims=True) / 256


def tile_mappings(grey, side, limit):
    return 255 * clip_histogram(tile_histograms(grey, side), limit).cumsum(axis=-1) / side**2


def interpolate(grey, mappings, side):
    up, down, a = (p[:, np.newaxis] for p in _near(grey.shape[0], side, mappings.shape[0] - 1))
    left, right, b = _near(grey.shape[1], side, mappings.shape[1] - 1)
    upper = (1 - b) * mappings[up, left, grey] + b * mappings[up, right, grey]
    lower = (1 - b) * mappings[down, left, grey] + b * mappings[down, right, grey]
    return np.rint((1 - a) * upper + a * lower).astype(np.uint8)


def _near(pixels, side, last):
    place = ((np.arange(pixels) + 0.5) / side - 0.5).clip(0, last)
    before = place.astype(int)
    return before, np.minimum(before + 1, last), place - before


def measure(before, after):
    rows, columns = before.shape[0] // 8, before.shape[1] // 8
    both = np.array([before, after], float).reshape(2, rows, 8, columns, 8)
    old, new = both.std(axis=(2, 4)).reshape(2, -1)
    return np.median(new), new[old.argmin()] / old.min()


def hazy(own, number=0):
    """A student's image, as the notebook makes it; or another one."""
    noise = own.rng("haze").normal(40, 2, (32, 32))
    return np.rint(noise + 0.6 * own.image(number).max(axis=-1)).astype(np.uint8)


def cases(student):
    """Images with a side of tiles and a limit; tiles of one level, too, of 256 pixels and more."""
    rng = np.random.default_rng(0)
    flat = rng.integers(0, 256, (32, 48), np.uint8)
    flat[:16, 16:] = 90
    return [
        (hazy(student.own, 1), 8, 2),
        (rng.integers(0, 256, (12, 20), np.uint8), 4, 1),
        (rng.integers(250, 256, (15, 5), np.uint8), 5, 3),
        (rng.integers(90, 99, (6, 6), np.uint8), 6, 36),
        (flat, 16, 5),
        (np.full((20, 40), 7, np.uint8), 20, 30),
    ]


def check_histograms(student):
    for image, side, _ in cases(student)[:4]:
        student.compare(tile_histograms, image, side, by_hand=True)
    yield 2
    for image, side, _ in cases(student)[4:]:
        student.compare(tile_histograms, image, side, by_hand=True)
    yield 1


def check_clip(student):
    for image, side, limit in cases(student):
        for bars in tile_histograms(image, side).reshape(-1, 256):
            student.compare(clip_histogram, bars, limit, within=1e-3, by_hand=True)
    yield 3


def check_mappings(student):
    for image, side, limit in cases(student):
        student.compare(tile_mappings, image, side, limit, within=0.01, by_hand=True)
    yield 3


def check_interpolate(student):
    options = {"by_hand": True, "dtype": np.uint8}
    same_everywhere = np.tile(np.arange(256.0), (2, 3, 1))
    levels = np.arange(96, dtype=np.uint8).reshape(8, 12)
    student.compare(interpolate, levels, same_everywhere, 4, within=1, **options)
    yield 1
    plain = np.zeros((2, 3, 256)) + np.array([[0, 80, 160], [40, 120, 200]])[..., np.newaxis]
    image = np.random.default_rng(3).integers(0, 256, (16, 24), np.uint8)
    student.compare(interpolate, image, plain, 8, within=9, **options)  # a pixel off: 2 points less
    yield 2
    for image, side, limit in cases(student):
        maps = tile_mappings(image, side, limit)
        for mappings in (maps, 255 - maps[:, ::-1]):
            student.compare(interpolate, image, mappings, side, within=1, **options)
    yield 2


def check_dead(student):
    height = student.own.choose("height", [3, 4, 5, 6, 8, 9, 10, 12, 13, 15, 16])
    end = 2 / (height * student.own.choose("width", range(13, 30)))
    student.number("dead_end", [end], 1e-3 * end)
    yield 2


def check_measure(student):
    pairs = [(x, au.clahe(x, 8, 0.05)) for x in (hazy(student.own, 1), hazy(student.own, 2)[:24])]
    rng = np.random.default_rng(4)
    noise = rng.integers(0, 8, (24, 40), np.uint8) * rng.integers(10, 30, (24, 40), np.uint8)
    pairs.append((noise, noise[::-1, ::-1].copy()))
    for place, points in ((0, 1), (1, 2)):  # detail, then noise
        for before, after in pairs:
            found = student.call("measure", before, after)
            if not isinstance(found, tuple | list | np.ndarray) or len(found) != 2:
                raise Wrong(f"measure is to return two numbers, got {brief(found)}")
            what = f"{('detail', 'noise')[place]} of {shown('measure', before, after)}"
            same(what, found[place], measure(before, after)[place], 1e-3)
        yield points


def check_choice(student):
    grey = hazy(student.own)
    size, limit = student.value("kernel_size"), student.value("clip_limit")
    everything = {
        (k, c): measure(grey, au.clahe(grey, k, c)) for k in KERNEL_SIZES for c in CLIP_LIMITS
    }
    try:
        detail, noise = everything[size, limit]
    except (KeyError, TypeError) as error:
        raise Wrong(f"{brief(size)} with {brief(limit)} is none of the 33 settings") from error
    ceiling = student.own.choose("most", [2, 2.5, 3, 3.5]) * everything[16, 0.004][1]
    if noise > 1.001 * ceiling:
        raise Wrong(
            f"this setting has a noise of {noise:.2f}, and at most {ceiling:.2f} is allowed"
        )
    best = max(d for d, n in everything.values() if n <= 0.999 * ceiling)
    if detail < best - 0.01:
        raise Wrong(f"its detail is {detail:.2f}, and another allowed setting has {best:.2f}")
    for smaller in CLIP_LIMITS[: CLIP_LIMITS.index(limit)]:
        d, n = everything[size, smaller]
        if n <= 0.999 * ceiling and d == detail:
            raise Wrong(f"a clip_limit of {smaller} has the same detail, and is smaller")
    yield 1
    student.number("detail", [detail], 0.1)
    yield 1


PARTS = [
    Part("histograms", check_histograms, tile_histograms),
    Part("clip", check_clip, clip_histogram),
    Part("mappings", check_mappings, tile_mappings),
    Part("interpolate", check_interpolate, interpolate),
    Part("dead", check_dead),
    Part("measure", check_measure, measure),
    Part("choice", check_choice),
]
