"""The layers: the functions' numbers, in any graph, and inside a model that is saved and served."""

import functools
import inspect
from importlib.util import find_spec

import numpy as np
import pytest
import skimage

import augment_utils as au
from augment_utils.keras_bridge import quiet_startup
from augment_utils.layers import (
    CLAHE,
    AdaptiveHistogramEqualization,
    ContrastStretching,
    HistogramEqualization,
)
from tests.common import python
from tools import ROOT

with quiet_startup():
    import keras
    import tensorflow as tf

PAIRS = {  # name: (layer, its settings, function)
    "stretching": (ContrastStretching, {}, au.contrast_stretching),
    "min-max of each channel": (
        *(ContrastStretching, {"low": 0, "high": 100, "color": "channel"}),
        au.contrast_stretching,
    ),
    "stretching of V": (
        ContrastStretching,
        {"high": 99.5, "color": "value"},
        au.contrast_stretching,
    ),
    "HE": (HistogramEqualization, {}, au.histogram_equalization),
    "HE joint": (HistogramEqualization, {"color": "joint"}, au.histogram_equalization),
    "HE channel": (HistogramEqualization, {"color": "channel"}, au.histogram_equalization),
    "AHE": (AdaptiveHistogramEqualization, {}, au.adaptive_histogram_equalization),
    "AHE, odd tiles": (
        *(AdaptiveHistogramEqualization, {"kernel_size": (7, 9)}),
        au.adaptive_histogram_equalization,
    ),
    "CLAHE": (CLAHE, {}, au.clahe),
    "CLAHE, large tiles": (CLAHE, {"kernel_size": 40, "clip_limit": 0.01}, au.clahe),
    "CLAHE, no limit": (CLAHE, {"kernel_size": 5, "clip_limit": 0}, au.clahe),
}
pairs = pytest.mark.parametrize("name", PAIRS)


def made(name, /, **more):
    """The layer, and the function with its settings."""
    layer, settings, function = PAIRS[name]
    return layer(**settings, **more), functools.partial(function, **settings)


def batches(real_images):
    rng = np.random.default_rng(0)
    return {
        "real": real_images,
        "grey": real_images[..., 1:2],
        "one image": real_images[0],
        "odd": rng.integers(0, 256, (4, 17, 23, 3), np.uint8),
        "few levels": rng.choice(np.array([3, 7, 200], np.uint8), (4, 19, 31, 3)),
        "nearly flat": rng.integers(100, 104, (8, 24, 24, 3), np.uint8),
        "flat": np.full((2, 16, 16, 3), 7, np.uint8),
        "black and white": 255 * rng.integers(0, 2, (2, 12, 12, 1), np.uint8),
        "one row": rng.integers(0, 256, (2, 1, 40, 3), np.uint8),
        "a photograph": skimage.data.astronaut()[np.newaxis, :224, :224],
        # tiles of one grey level each, where the last stretch would enlarge any rounding
        "squares": np.kron(rng.integers(0, 256, (2, 5, 5, 1)), np.ones((1, 40, 40, 1))).astype(
            np.uint8
        ),
    }


def apart(result, wanted):
    """In grey levels of 255."""
    return np.abs(np.asarray(result, float) - wanted).max()


def compare(name, images, call=None):
    """For bytes and for floats in two ranges."""
    layer, function = made(name)
    call = call or (lambda layer, images: layer(images))
    result, wanted = call(layer, images), function(images)
    assert keras.backend.standardize_dtype(result.dtype) == "uint8" and apart(result, wanted) <= 1
    floats = images.astype(np.float32)
    assert apart(call(layer, floats), 255 * function(floats / 255)) <= 1
    around = floats / np.float32(127.5) - 1
    layer, _ = made(name, value_range=(-1, 1))
    result = 127.5 * (np.asarray(call(layer, around)) + 1)
    assert apart(result, 255 * function((around + 1) / 2)) <= 1


@pairs
def test_a_layer_gives_the_functions_numbers(name, real_images):
    for images in batches(real_images).values():
        compare(name, images)


@pytest.mark.slow
@pytest.mark.parametrize("jit", [False, True])
@pairs
def test_a_compiled_layer_gives_the_functions_numbers(name, jit, real_images):
    if jit and name in ("HE joint", "AHE", "CLAHE, no limit", "stretching"):
        return  # each compiles for seconds: once is enough for each kind

    def call(layer, images):
        return tf.function(layer, jit_compile=jit)(tf.constant(images))

    for images in (*batches(real_images).values(), au.load_cifar10().x_train[:2000]):
        compare(name, images, call)


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("jax"), reason="JAX is not installed")
def test_with_jax_the_layers_are_the_same():
    """But for tf.data and tf.function; float64 is turned on, as the module asks for."""
    chosen = "layer_gives or two_sizes or chance_falls or trained or refused or not_a_number"
    environment = {"KERAS_BACKEND": "jax", "JAX_ENABLE_X64": "1"}
    done = python("-m", "pytest", "-n0", __file__, "-k", chosen, cwd=ROOT, **environment)
    assert done.returncode == 0, done.stdout


def test_one_layer_takes_images_of_two_sizes(real_images):
    layer = CLAHE()
    for images in (real_images[:2], np.repeat(real_images[:2], 2, axis=1)):
        assert apart(layer(images), au.clahe(images)) <= 1


@pairs
def test_the_number_of_images_may_be_unknown(name, real_images):
    """In a model, and in a dataset's map, of batches or of single images."""
    layer, function = made(name)
    inputs = keras.Input((32, 32, 3), dtype="uint8")
    model = keras.Model(inputs, layer(inputs))
    wanted = function(real_images[:10])
    assert model.output.dtype == "uint8"
    single = tf.data.Dataset.from_tensor_slices(real_images[:10])
    batched = single.batch(4)
    for results in (
        [model(batch) for batch in batched],
        [*batched.map(layer, tf.data.AUTOTUNE).as_numpy_iterator()],
        [*single.map(layer).batch(10).as_numpy_iterator()],
    ):
        assert apart(np.concatenate(results), wanted) <= 1


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_what_is_counted_is_not_rounded_by_a_policy(policy, real_images):
    """Of large tiles a histogram in bfloat16 would count wrong from 256 on."""
    images = np.repeat(np.repeat(real_images[:4], 3, 1), 3, 2)
    layer, function = CLAHE(48, dtype=policy), functools.partial(au.clahe, kernel_size=48)
    assert np.array_equal(layer(images), CLAHE(48)(images))
    result = layer(images.astype(np.float32))
    assert keras.backend.standardize_dtype(result.dtype) == layer.compute_dtype
    assert apart(tf.cast(result, tf.float64), function(images)) <= 2  # 255 in 8 bits


# ---- chance


def chosen(layer, images, training=True):
    """Which images came back changed."""
    result = np.asarray(layer(images, training=training))
    return (result != images).any(axis=(1, 2, 3)).tolist()


def test_chance_falls_for_each_image_and_each_time_in_training(real_images):
    layer = CLAHE(probability=0.5, seed=3)
    epochs = [chosen(layer, real_images) for _ in range(4)]
    assert len({*map(tuple, epochs)}) == 4 and 0.3 < np.mean(epochs) < 0.7
    again = CLAHE(probability=0.5, seed=3)
    assert epochs == [chosen(again, real_images) for _ in range(4)]
    assert epochs[0] != chosen(CLAHE(probability=0.5, seed=4), real_images)
    assert not any(chosen(layer, real_images, training=False))
    assert not any(chosen(layer, real_images, training=None))
    changed = np.asarray(layer(real_images, training=True))
    either = [
        np.array_equal(c, i) or apart(c, au.clahe(i)) <= 1
        for c, i in zip(changed, real_images, strict=True)
    ]
    assert all(either)


def test_a_map_of_the_layer_draws_anew_in_each_epoch(real_images):
    layer = HistogramEqualization(probability=0.5, seed=3)
    dataset = tf.data.Dataset.from_tensors(real_images).map(lambda x: layer(x, training=True))
    epochs = [(next(iter(dataset)).numpy() != real_images).any(axis=(1, 2, 3)) for _ in range(3)]
    assert len({*map(tuple, epochs)}) == 3


def test_without_chance_training_and_use_are_the_same(real_images):
    assert np.array_equal(*(CLAHE()(real_images, training=each) for each in (True, False)))


# ---- inside a model


def small_model(layer):
    inputs = keras.Input((32, 32, 3), dtype="uint8", name="images")
    scaled = keras.layers.Rescaling(1 / 255)(layer(inputs))
    outputs = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(scaled))
    return keras.Model(inputs, [layer(inputs), outputs])


@pairs
def test_a_config_makes_the_same_layer(name):
    layer, _ = made(name, value_range=(0, 1), probability=0.25, seed=5, name="contrast")
    twin = layer.from_config(layer.get_config())
    assert twin.get_config() == layer.get_config() and twin.settings == layer.settings
    assert keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")  # of Keras
def test_a_saved_model_gives_the_same_pixels_elsewhere(real_images, tmp_path):
    """Loaded by Keras in a fresh process, and served by TensorFlow alone."""
    images = real_images[:6]
    model = small_model(CLAHE(kernel_size=9))
    pixels, logits = model(images)
    model.save(tmp_path / "model.keras")
    model.export(tmp_path / "served", verbose=False)
    np.save(tmp_path / "images.npy", images)
    loaded = (
        "import numpy as np, augment_utils.layers, keras\n"
        "model = keras.saving.load_model('model.keras')\n"
        "np.savez('loaded.npz', *model.predict(np.load('images.npy'), verbose=0))"
    )
    served = (
        "import numpy as np, tensorflow as tf, sys\n"
        "served = tf.saved_model.load('served')\n"
        "np.savez('served.npz', *served.serve(tf.constant(np.load('images.npy'))))\n"
        "assert 'augment_utils' not in sys.modules"
    )
    for script, file in ((loaded, "loaded.npz"), (served, "served.npz")):
        done = python("-c", script, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        with np.load(tmp_path / file) as came:
            assert np.array_equal(came["arr_0"], pixels)
            np.testing.assert_allclose(came["arr_1"], logits, rtol=1e-5)


@pytest.mark.parametrize("jit", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_model_with_it_is_trained(jit, real_images):
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            CLAHE(probability=0.5, seed=0),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, jit_compile=jit)
    images = real_images[:16].astype(np.float32)
    history = model.fit(images, np.arange(16) % 2, batch_size=8, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_the_reference_shows_the_signatures():
    """Keras hides them from what makes the page."""
    page = (ROOT / "book" / "reference.md").read_text("utf-8").replace('"', "'")
    for layer in (ContrastStretching, HistogramEqualization, AdaptiveHistogramEqualization, CLAHE):
        parameters = [*inspect.signature(layer.__init__).parameters.values()][1:-1]
        shown = ", ".join(f"{each.name}={each.default!r}" for each in parameters)
        assert f".. autoclass:: {layer.__name__}({shown})" in page


# ---- what is refused


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ContrastStretching(0.02, 0.98), "percentiles of 0..100"),
        (lambda: HistogramEqualization("hue"), "got color='hue'"),
        (lambda: CLAHE(0), "got kernel_size=0"),
        (lambda: CLAHE(clip_limit=2.0), "OpenCV's clipLimit"),
        (lambda: CLAHE(probability=50), "a share of images"),
        (lambda: CLAHE(value_range=(1, 0)), r"got value_range=\(1, 0\)"),
        (lambda: CLAHE()(keras.Input((32, 32, 4))), "expected 1 or 3 channels"),
        (lambda: CLAHE()(keras.Input((None, 32, 3))), r"expected \(N, H, W, C\)"),
        (lambda: CLAHE(5000)(keras.Input((32, 32, 3))), "expected a tile of at most 4096 x 4096"),
        (lambda: CLAHE()(keras.Input((32,))), r"expected \(N, H, W, C\)"),
        (lambda: CLAHE()(keras.Input((32, 32, 3), dtype="int32")), "got int32, expected uint8"),
        (lambda: CLAHE()(np.zeros((8, 8, 3), np.uint16)), "got uint16, expected uint8"),
    ],
)
def test_what_is_impossible_is_refused_when_it_is_built(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


@pairs
def test_what_is_outside_the_range_or_not_a_number_is_clipped(name, real_images):
    """Each image for itself."""
    floats = 1.5 * real_images[:3].astype(np.float32) - 40
    clipped = np.clip(floats, 0, 255)
    floats[1, 3:5], clipped[1, 3:5] = np.nan, 0
    layer, _ = made(name)
    assert np.array_equal(layer(floats), layer(clipped))


# ---- what people have brought


def test_each_frame_of_a_video():
    video = keras.Input((2, 32, 32, 3))
    assert keras.layers.TimeDistributed(CLAHE())(video).shape == (None, 2, 32, 32, 3)


def test_a_tile_from_an_array_is_saved_and_loaded(tmp_path):
    model = keras.Sequential([keras.Input((32, 32, 3)), CLAHE(np.array([5, 6]))])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert [*loaded.layers[0].get_config()["kernel_size"]] == [5, 6]


def test_whites_beyond_float16_are_refused():
    for value_range in ((0, 65535), (-70000, 0)):
        layer = CLAHE(value_range=value_range, dtype="mixed_float16")
        with pytest.raises(ValueError, match="too wide for float16: `dtype='float32'`"):
            layer(np.zeros((1, 8, 8, 3), "f4"))


def test_a_narrow_range_is_stretched_as_by_the_function():
    images = (0.5 + 0.02 * np.random.default_rng(0).random((2, 32, 32, 3))).astype("f4")
    settings = {"low": 99.9, "high": 100, "color": "value"}
    layer = ContrastStretching(**settings, value_range=(0, 1))
    assert np.abs(layer(images) - au.contrast_stretching(images, **settings)).max() <= 1 / 255


def test_a_batch_of_no_images_comes_back():
    assert CLAHE()(np.zeros((0, 8, 8, 3), "f4")).shape == (0, 8, 8, 3)


def test_a_seed_may_be_numpys():
    assert CLAHE(probability=0.5, seed=np.int64(3)).get_config()["seed"] == 3
    with pytest.raises(TypeError, match="expected an int or None"):
        CLAHE(seed="a")
