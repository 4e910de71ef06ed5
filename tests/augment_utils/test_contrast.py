"""The four transforms: agreement with scikit-image, and the contract they share.

On random arrays, and what is no image at all: test_fuzz.py.
"""

import contextvars
import inspect
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from skimage import color as skcolor
from skimage import data, exposure

import augment_utils as au
from augment_utils import contrast
from tests.common import python

# ---- the references, one image at a time, floats 0..1 out


def on_planes(function, image, color):
    """`function` of scikit-image on the histogram units that `color` names."""
    if image.ndim == 2 or color == "joint":
        with warnings.catch_warnings():  # equalize_hist suspects a colour image: it is one
            warnings.filterwarnings("ignore", message=".*might be a color image.*")
            return function(image)
    if color == "channel":
        return np.stack([function(image[..., c]) for c in range(3)], axis=-1)
    hsv = skcolor.rgb2hsv(image)
    hsv[..., 2] = function(hsv[..., 2])
    return skcolor.hsv2rgb(hsv)


def rescale(low, high):
    def function(plane):
        out = exposure.rescale_intensity(plane, in_range=tuple(np.percentile(plane, (low, high))))
        return out / np.iinfo(out.dtype).max if out.dtype.kind == "u" else out

    return function


def adapthist(**arguments):
    return lambda image: exposure.equalize_adapthist(image, **arguments)


# name: (our call, scikit-image's on one image)
PAIRS = {
    f"{name}-{color}": (
        lambda images, f=ours, c=color: f(images, color=c),
        lambda image, f=theirs, c=color: on_planes(f, image, c),
    )
    for name, ours, theirs in [
        ("stretching", au.contrast_stretching, rescale(2, 98)),
        ("min-max", lambda x, color: au.contrast_stretching(x, 0, 100, color), rescale(0, 100)),
        ("equalization", au.histogram_equalization, exposure.equalize_hist),
    ]
    for color in contrast.COLORS
} | {
    f"{name}-{tile}-{limit}": (
        lambda images, f=ours, k=tile: f(images, kernel_size=k),
        adapthist(kernel_size=tile, clip_limit=limit),
    )
    for name, limit, ours in [
        ("ahe", 1.0, au.adaptive_histogram_equalization),
        ("clahe", 0.03, au.clahe),
        ("clahe", 0.3, lambda x, kernel_size: au.clahe(x, kernel_size, 0.3)),
        ("clahe", 0.006, lambda x, kernel_size: au.clahe(x, kernel_size, 0.006)),
        ("clahe", 0.0, lambda x, kernel_size: au.clahe(x, kernel_size, 0)),
    ]
    for tile in [8, 4, (5, 9), (16, 3), 32]
}


def assert_agree(ours, theirs):
    """To one grey level of 255 at every pixel."""
    if ours.dtype.kind == "u":
        ours = ours / np.iinfo(ours.dtype).max
    theirs = np.reshape(theirs, ours.shape)
    assert np.abs(ours.astype(float) - theirs).max() <= 1 / 255 + 1e-6


def in_dtype(images, dtype):
    """Bytes as they are, as floats, or with 16 bits of which all are used."""
    if dtype == "uint16":
        noise = np.random.default_rng(0).integers(0, 257, images.shape)
        return (images.astype(np.uint16) * 256 + noise.clip(0, 255)).astype(dtype)
    return images if dtype == "uint8" else (images / 255).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("pair", PAIRS)
def test_agrees_with_scikit_image_on_real_images(pair, dtype, real_images):
    by_bins = pair in ("equalization-joint", "equalization-channel")
    if by_bins and dtype is np.float32 and np.__version__[0] == "1":
        pytest.skip("NumPy 1 rounds a bin's edge otherwise, and scikit-image's counts with it")
    ours, theirs = PAIRS[pair]
    images = in_dtype(real_images, dtype)
    results = ours(images)
    for image, result in zip(images, results, strict=True):
        assert_agree(result, theirs(image))
        if image is images[0]:  # grey: V is the only plane there is
            assert_agree(ours(image[..., 0]), theirs(image[..., 0]))


@pytest.mark.parametrize("clip_limit", [0.001, 0.005, 0.02, 0.1, 1])
@pytest.mark.parametrize("side", [256, 250])
def test_clahe_agrees_on_large_tiles(clip_limit, side):
    """Where every bin gets a share of the excess, which tiles of up to 256 pixels never see."""
    photo = data.camera()[:side, :side]
    for kernel_size in (32, 100):
        arguments = {"kernel_size": kernel_size, "clip_limit": clip_limit}
        assert_agree(au.clahe(photo, **arguments), exposure.equalize_adapthist(photo, **arguments))


# ---- what the contract adds

TRANSFORMS = [
    au.contrast_stretching,
    au.histogram_equalization,
    au.adaptive_histogram_equalization,
    au.clahe,
]
every_transform = pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda f: f.__name__)


@every_transform
@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", ">u2", "float16", "float32", "float64", ">f4"]
)
def test_a_batch_gives_what_its_images_give(transform, dtype, real_images):
    images = (
        in_dtype(real_images[:4], "uint16").astype(dtype)
        if "u2" in dtype
        else (in_dtype(real_images[:4], dtype))
    )
    batch = transform(images)
    assert batch.dtype == images.dtype and batch.shape == images.shape
    for image, result in zip(images, batch, strict=True):
        assert np.array_equal(transform(image), result)


@every_transform
@pytest.mark.parametrize("level", [0, 1, 77, 255])
@pytest.mark.parametrize("shape", [(9, 9), (9, 9, 1), (9, 9, 3), (2, 9, 9, 3)])
def test_a_flat_image_comes_back_unchanged(transform, level, shape):
    flat = np.full(shape, level, np.uint8)
    result = transform(flat)
    assert np.array_equal(result, flat) and result is not flat
    assert np.array_equal(transform(flat / 255.0), flat / 255.0)
    deep = flat.astype(np.uint16) * 250 + 3
    assert np.array_equal(transform(deep), deep)


@every_transform
@pytest.mark.parametrize("bits", [12, 16])
def test_a_ramp_in_16_bits_stays_in_order_and_uses_the_range(transform, bits):
    """With one tile for all: tiles of their own make waves of a ramp, as in scikit-image."""
    ramp = np.linspace(0, 2**bits - 1, 64 * 64).astype(np.uint16).reshape(64, 64)
    in_tiles = "kernel_size" in inspect.signature(transform).parameters
    result = transform(ramp, **{"kernel_size": 64} if in_tiles else {})
    assert (np.diff(result.ravel().astype(int)) >= 0).all()
    assert result.dtype == np.uint16 and result.min() < 2000 and result.max() == 65535
    assert transform(ramp).max() == 65535


def test_equalization_counts_each_of_16_bits_levels():
    """As scikit-image; in 256 bins, all levels but the last would share one."""
    deep = np.array([[0, 1, 2, 3], [4, 5, 6, 65535]], np.uint16)
    for color in contrast.COLORS:  # grey: one and the same
        result = au.histogram_equalization(deep, color)
        assert np.array_equal(result, np.rint(65535 * np.arange(1, 9) / 8).reshape(2, 4))


@every_transform
@pytest.mark.parametrize("over", [4e-16, 2e-7, 9e-7])
def test_what_rounding_left_outside_is_clipped(transform, over, real_images):
    dtype = np.float64 if over < 1e-7 else np.float32
    unit = (real_images[0] / 255).astype(dtype)
    unit[0, 0], unit[0, 1] = 0, 1
    rounded = unit.copy()
    rounded[0, 0], rounded[0, 1] = -over, 1 + over
    assert np.array_equal(transform(rounded), transform(unit))
    for bridge in (
        au.as_preprocessing_function(transform, value_range=(0, 1)),
        au.as_dataset_map(transform),
    ):
        assert np.array_equal(bridge(rounded), transform(unit))


@every_transform
def test_strides_and_write_protection_do_not_matter(transform, real_images):
    expected = transform(np.ascontiguousarray(real_images[:2, ::2, ::-1]))
    view = real_images[:2, ::2, ::-1]
    view.flags.writeable = False
    assert np.array_equal(transform(view), expected)


@every_transform
@pytest.mark.parametrize("shape", [(1, 4096), (4096, 1, 3), (1031, 517), (2, 300, 200, 3)])
def test_large_and_long_images_are_transformed(transform, shape):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 200, shape, np.uint8)
    result = transform(images)
    assert result.shape == shape and result.min() < 20 and result.max() > 235


def test_the_largest_image_agrees_with_scikit_image_in_a_corner():
    photo = np.tile(data.camera(), (8, 8))  # 4,096 x 4,096, and its own mirror nowhere
    result = au.clahe(photo, kernel_size=512, clip_limit=0.01)
    assert result.shape == photo.shape
    corner = exposure.equalize_adapthist(photo[:2048, :2048], kernel_size=512, clip_limit=0.01)
    assert_agree(result[:1024, :1024], corner[:1024, :1024])


@every_transform
def test_several_threads_at_once_get_what_one_gets(transform, real_images):
    batches = [np.roll(np.tile(real_images, (4, 1, 1, 1)), i, axis=0) for i in range(12)]
    expected = [transform(batch) for batch in batches]
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(transform, batches))
    assert all(map(np.array_equal, results, expected))


def test_without_numba_the_results_are_the_same(tmp_path):
    """NUMBA_DISABLE_JIT, with which people look into the loops; floats but for their rounding."""
    script = """
import sys
import numpy as np
import augment_utils as au
rng, results = np.random.default_rng(0), []
for shape in ((9, 11), (2, 9, 12, 3)):
    unit = rng.random(shape) ** 2
    for images in (np.uint8(255 * unit), np.uint16(65535 * unit), np.float32(unit), unit):
        for color in ("joint", "channel", "value"):
            results.append(au.contrast_stretching(images, color=color))
            results.append(au.histogram_equalization(images, color=color))
        results.append(au.clahe(images, kernel_size=(8, 5)))
        results.append(au.adaptive_histogram_equalization(images))
np.savez(sys.argv[1], *results)
"""
    for name in ("0", "1"):
        done = python("-W", "error", "-c", script, tmp_path / name, NUMBA_DISABLE_JIT=name)
        assert done.returncode == 0, done.stderr
    compiled, plain = (np.load(tmp_path / f"{name}.npz") for name in ("0", "1"))
    assert len(compiled) == len(plain) == 64
    for name in compiled:
        assert np.allclose(compiled[name], plain[name], rtol=0, atol=1e-7)


def test_the_number_of_threads_changes_nothing(real_images, monkeypatch):
    images = np.tile(real_images, (8, 1, 1, 1))
    results = []
    for threads in ("1", "2", "7"):
        monkeypatch.setenv("AUGMENT_THREADS", threads)
        results.append(au.clahe(images))
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[0], results[2])


def test_a_context_has_its_own_number_of_threads(monkeypatch):
    monkeypatch.setenv("AUGMENT_THREADS", "7")
    context = contextvars.copy_context()
    context.run(contrast.THREADS.set, 3)
    assert context.run(contrast.thread_count) == 3
    assert contrast.thread_count() == 7


@pytest.mark.parametrize("threads", ["0", "many"])
def test_an_impossible_number_of_threads_is_refused(threads, monkeypatch):
    monkeypatch.setenv("AUGMENT_THREADS", threads)
    with pytest.raises(ValueError, match=f"AUGMENT_THREADS={threads}"):
        au.clahe(IMAGE)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak has another unit or none")
@pytest.mark.parametrize("transform", [f.__name__ for f in TRANSFORMS])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_batch_needs_memory_for_the_result_and_a_few_images(transform, dtype):
    """In a process of its own, whose peak is then known; a float64 copy would be seen."""
    script = f"""
import resource
import numpy as np
import augment_utils as au
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
images = np.full((400, 224, 224, 3), 100, {dtype!r})
images[:, ::2] = 50
images = images if images.dtype.kind == "u" else np.divide(images, 255, out=images)
au.{transform}(images[:8])
before = peak()
result = au.{transform}(images)
print((peak() - before) * 1024 / result.nbytes)
"""
    done = python("-c", script)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1.3


@pytest.mark.parametrize("transform", [au.histogram_equalization, au.clahe])
def test_value_keeps_hue_and_saturation(transform, real_images):
    image = real_images[0] / 255
    before, after = skcolor.rgb2hsv(image), skcolor.rgb2hsv(transform(image))
    coloured = (before[..., 2] > 0) & (after[..., 2] > 0)
    assert np.allclose(before[coloured][:, :2], after[coloured][:, :2], atol=1e-6)
    assert not np.allclose(before[..., 2], after[..., 2], atol=0.05)


def test_black_pixels_stay_grey():
    image = np.zeros((8, 8, 3), np.uint8)
    image[:4] = [200, 100, 0]
    black = au.histogram_equalization(image)[4:]
    assert (black == black[0, 0, 0]).all()


def test_default_kernel_is_an_eighth_of_the_side_but_at_least_8(real_images):
    image = real_images[0]
    assert np.array_equal(au.clahe(image), au.clahe(image, kernel_size=8))
    wide = np.tile(image, (1, 4, 1))  # 32 x 128: 8 and 16
    assert np.array_equal(au.clahe(wide), au.clahe(wide, kernel_size=(8, 16)))


IMAGE = np.arange(64, dtype=np.uint8).reshape(8, 8)
BAD_IMAGES = {
    "a list": ([[1, 2], [3, 4]], TypeError, "list.*NumPy array"),
    "int64": (IMAGE.astype(np.int64), TypeError, "int64.*uint8"),
    "bool": (IMAGE > 3, TypeError, "bool.*uint8"),
    "complex": (IMAGE.astype(complex), TypeError, "complex128.*uint8"),
    "floats in 0..255": (IMAGE.astype(np.float32), ValueError, "0 to 63.*divide by 255"),
    "negative": (IMAGE / 63 - 0.5, ValueError, "-0.5 to 0.5.*0..1"),
    "NaN": (np.where(IMAGE == 3, np.nan, 0.5), ValueError, "NaN or infinity"),
    "infinity": (np.where(IMAGE == 3, np.inf, 0.5), ValueError, "NaN or infinity"),
    "one axis": (IMAGE.ravel(), ValueError, r"\(64,\).*\(H, W\)"),
    "five axes": (IMAGE.reshape(1, 1, 8, 8, 1), ValueError, r"\(1, 1, 8, 8, 1\)"),
    "channels first": (np.zeros((3, 8, 8), np.uint8), ValueError, r"\(3, 8, 8\).*newaxis"),
    "four channels": (np.zeros((8, 8, 4), np.uint8), ValueError, r"\(8, 8, 4\).*C = 1 or 3"),
    "empty batch": (np.zeros((0, 8, 8, 3), np.uint8), ValueError, "no pixel"),
    "no rows": (np.zeros((0, 8), np.uint8), ValueError, "no pixel"),
}


@every_transform
@pytest.mark.parametrize("bad", BAD_IMAGES)
def test_bad_images_are_refused(transform, bad):
    images, error, message = BAD_IMAGES[bad]
    with pytest.raises(error, match=message):
        transform(images)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: au.contrast_stretching(IMAGE, 50, 50), "low=50 and high=50"),
        (lambda: au.contrast_stretching(IMAGE, 98, 2), "low=98 and high=2"),
        (lambda: au.contrast_stretching(IMAGE, -1, 98), "low=-1"),
        (lambda: au.contrast_stretching(IMAGE, 2, 101), "high=101"),
        (lambda: au.contrast_stretching(IMAGE, 0.02, 0.98), "low=2, high=98"),
        (lambda: au.contrast_stretching(IMAGE, 0, 1), "not fractions"),
        (lambda: au.contrast_stretching(IMAGE, float("nan"), 98), "low=nan"),
        (lambda: au.contrast_stretching(IMAGE, color="hue"), "color='hue'.*joint, channel, value"),
        (lambda: au.histogram_equalization(IMAGE, "grey"), "color='grey'"),
        (lambda: au.clahe(IMAGE, clip_limit=1.5), "clip_limit=1.5"),
        (lambda: au.clahe(IMAGE, clip_limit=-0.1), "clip_limit=-0.1"),
        (lambda: au.clahe(IMAGE, clip_limit=float("nan")), "clip_limit=nan"),
        (lambda: au.clahe(IMAGE, kernel_size=0), "kernel_size=0"),
        (lambda: au.clahe(IMAGE, kernel_size=(8, 8, 8)), r"kernel_size=\(8, 8, 8\)"),
        (lambda: au.clahe(IMAGE, kernel_size=2.5), "kernel_size=2.5"),
        (lambda: au.adaptive_histogram_equalization(IMAGE, kernel_size="8"), "kernel_size='8'"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def without_hints(function):
    parameters = inspect.signature(function).parameters.values()
    return str(inspect.Signature([each.replace(annotation=each.empty) for each in parameters]))


def test_signatures_are_the_published_ones():
    assert [without_hints(f) for f in TRANSFORMS] == [
        "(images, low=2.0, high=98.0, color='joint')",
        "(images, color='value')",
        "(images, kernel_size=None)",
        "(images, kernel_size=None, clip_limit=0.03)",
    ]


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_a_dtype_is_numpys_own(transform, dtype):
    """Compiled code of others compares dtypes by identity."""
    assert transform(np.zeros((9, 9, 3), dtype)).dtype is np.dtype(dtype)
