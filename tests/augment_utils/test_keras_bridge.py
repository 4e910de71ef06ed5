"""The transforms inside ImageDataGenerator and tf.data: the same images, by any number of hands."""

import functools
import os
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from augment_utils import as_dataset_map, as_preprocessing_function, clahe, contrast_stretching
from augment_utils.keras_bridge import quiet_startup
from tests.common import python

with quiet_startup():
    import tensorflow as tf


def changed(before, after):
    return [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]


def test_tensorflow_starts_without_a_word():
    script = (
        "import sys; from augment_utils.keras_bridge import quiet_startup\n"
        "with quiet_startup():\n    import tensorflow\n"
        "print('heard', file=sys.stderr)"
    )
    done = python("-c", script)
    assert (done.stdout, done.stderr) == ("", "heard\n")


def test_what_others_write_while_tensorflow_starts_comes_afterwards(capfd):
    with quiet_startup():
        os.write(2, b"2026-11-25 09:00:00.1: I tensorflow/core: started\nfrom another thread\n")
        os.write(2, b"I0000 00:00:1795611814.743110   21091 port.cc:153] oneDNN is on\n")
    assert capfd.readouterr().err == "from another thread\n"


def test_an_error_while_quiet_is_raised():
    with pytest.raises(ImportError), quiet_startup():
        raise ImportError("no such thing")


# ---- as_preprocessing_function


@pytest.mark.parametrize("value_range", [(0, 255), (0, 1), (-1, 1)])
def test_a_generator_gets_the_transform_in_its_own_range(real_images, value_range):
    low, high = value_range
    unit = (real_images / 255).astype(np.float32)
    function = as_preprocessing_function(clahe, value_range=value_range)
    generator = tf.keras.preprocessing.image.ImageDataGenerator(preprocessing_function=function)
    batch = next(generator.flow(unit * (high - low) + low, batch_size=40, shuffle=False))
    assert batch.dtype == np.float32 and batch.shape == real_images.shape
    assert np.abs((batch - low) / (high - low) - clahe(unit)).max() < 1e-5


def test_the_image_given_stays_as_it_is(real_images):
    image = real_images[0].astype(np.float32)
    before = image.copy()
    for probability in (0, 1):
        result = as_preprocessing_function(clahe, probability=probability)(image)
        assert np.array_equal(image, before) and not np.shares_memory(result, image)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.full((8, 8, 3), 300, np.float32), "from 300 to 300, expected the value_range 0 to 255"),
        (np.full((8, 8, 3), -1, np.float32), "from -1 to -1"),
        (np.full((8, 8, 3), np.nan, np.float32), "from nan to nan"),
        (np.zeros((8, 8, 4), np.float32), r"got shape \(8, 8, 4\)"),
    ],
)
def test_a_wrong_image_is_refused_also_inside_a_generator(image, message):
    function = as_preprocessing_function(contrast_stretching)
    with pytest.raises(ValueError, match=message):
        function(image)
    generator = tf.keras.preprocessing.image.ImageDataGenerator(preprocessing_function=function)
    with pytest.raises(ValueError, match=message):
        next(generator.flow(image[np.newaxis]))


def test_bytes_are_rounded_not_cut_off():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    result = as_preprocessing_function(lambda unit: 0.3 * unit)(levels)
    assert result.dtype == np.uint8 and np.abs(result - 0.3 * levels).max() < 0.5001


@pytest.mark.parametrize("value_range", [(1, 0), (0, 0), (0, np.inf)])
def test_an_impossible_range_is_refused(value_range):
    with pytest.raises(ValueError, match="expected \\(low, high\\)"):
        as_preprocessing_function(clahe, value_range=value_range)


# ---- probability and seed


def run_preprocessing(images, seed, epochs=3, workers=1):
    """(epochs, N, H, W, C), computed by so many threads in whatever order."""
    function = as_preprocessing_function(clahe, probability=0.5, seed=seed)
    with ThreadPoolExecutor(workers) as pool:
        return np.stack([list(pool.map(function, images)) for _ in range(epochs)])


def test_the_seed_decides_whatever_the_number_of_workers(real_images):
    images = real_images.astype(np.float32)
    one, eight = (run_preprocessing(images, seed=3, workers=n) for n in (1, 8))
    backwards = run_preprocessing(images[::-1], seed=3)[:, ::-1]
    assert np.array_equal(one, eight) and np.array_equal(one, backwards)
    assert not np.array_equal(one, run_preprocessing(images, seed=4))
    first, second, _ = (changed(images, epoch) for epoch in one)
    assert first != second  # augmentation: another choice in every epoch
    assert 0.3 < np.mean([first, second]) < 0.7


def test_what_is_remembered_of_images_does_not_grow():
    function = as_preprocessing_function(lambda image: image, probability=0.5, seed=0)
    images = np.random.default_rng(0).random((3000, 4, 4, 1), np.float32)
    tracemalloc.start()
    for image in images:
        function(image)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 50_000  # 3,000 digests alone are 192,000 bytes


def test_without_a_seed_each_is_different(real_images):
    images = real_images.astype(np.float32)
    assert not np.array_equal(run_preprocessing(images, None), run_preprocessing(images, None))


@pytest.mark.parametrize("make", [as_preprocessing_function, as_dataset_map])
@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_an_impossible_probability_is_refused(make, probability):
    with pytest.raises(ValueError, match="probability="):
        make(clahe, probability=probability)


# ---- as_dataset_map


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_a_dataset_gets_the_transform_and_keeps_its_shapes(real_images, kind):
    images = real_images if kind is np.uint8 else (real_images / 255).astype(kind)
    labels = np.arange(len(images))
    dataset = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
    mapped = dataset.map(as_dataset_map(functools.partial(clahe, clip_limit=0.1)), tf.data.AUTOTUNE)
    assert mapped.element_spec == dataset.element_spec
    got, got_labels = (np.concatenate(parts) for parts in zip(*mapped, strict=True))
    assert np.array_equal(got, clahe(images, clip_limit=0.1))
    assert np.array_equal(got_labels, labels)


def test_a_dataset_of_single_images_works_too(real_images):
    mapped = tf.data.Dataset.from_tensor_slices(real_images).map(as_dataset_map(clahe))
    assert np.array_equal(np.stack(list(mapped)), clahe(real_images))
    assert mapped.element_spec.shape == (32, 32, 3)


def test_a_dataset_is_the_same_for_a_seed_whatever_the_parallelism(real_images):
    def run(seed, parallel):
        dataset = tf.data.Dataset.from_tensor_slices(real_images).batch(4)
        mapped = dataset.map(as_dataset_map(clahe, probability=0.5, seed=seed), parallel)
        return np.stack([np.concatenate(list(mapped)) for _ in range(2)])

    one, four = run(1, 1), run(1, 4)
    assert np.array_equal(one, four)
    assert not np.array_equal(one[0], one[1]) and not np.array_equal(one, run(2, 4))
    assert 0.2 < np.mean([changed(real_images, epoch) for epoch in one]) < 0.8


def test_what_a_transform_refuses_reaches_the_reader_of_the_dataset(real_images):
    dataset = tf.data.Dataset.from_tensors(real_images.astype(np.float32))
    with pytest.raises(tf.errors.InvalidArgumentError, match="divide by 255"):
        list(dataset.map(as_dataset_map(clahe)))
