"""The transforms inside ImageDataGenerator and tf.data: the same images, by any number of hands."""

import functools
import hashlib
import multiprocessing
import operator
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

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


def test_what_others_say_meanwhile_is_heard_afterwards(capfd):
    with quiet_startup():
        os.write(2, b"I0000 00:00:1.5 port.cc:153] oneDNN\n")
        other = threading.Thread(target=os.write, args=(2, b"another thread\n"))
        other.start()
        other.join()
    assert capfd.readouterr().err == "another thread\n"


def test_a_process_without_standard_error_can_use_all_of_it():
    script = (
        "import os, sys; sys.stderr = None; os.close(2)\n"
        "import numpy as np, augment_utils as au\n"
        "mapped = au.as_dataset_map(au.clahe, 0.5, seed=1)\n"
        "import tensorflow as tf\n"
        "print(mapped(tf.zeros((2, 9, 9, 3))).shape)"
    )
    done = python("-c", script)
    assert (done.returncode, done.stdout) == (0, "(2, 9, 9, 3)\n")


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
        (np.full((8, 8, 3), np.nan, np.float32), "got NaN or infinity"),
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


def test_without_a_seed_each_is_different(real_images):
    images = real_images.astype(np.float32)
    assert not np.array_equal(run_preprocessing(images, None), run_preprocessing(images, None))


def negative(unit):
    return 1 - unit


class Batches(tf.keras.utils.PyDataset):
    """As a generator's, but that it can be sent to a process."""

    def __init__(self, images, function):
        super().__init__()
        self.images, self.function = images, function

    def __len__(self):
        return len(self.images) // 8

    def __getitem__(self, i):
        rows = np.arange(8 * i, 8 * i + 8)
        return np.stack([self.function(image) for image in self.images[rows]]), rows


class Seen(tf.keras.Model):
    """Learns nothing, and keeps the batches of all epochs."""

    def train_step(self, batch):
        self.batches.append([part.numpy() for part in batch])
        return {"loss": tf.zeros(())}


def chosen_in_epochs(images, batches, workers, method="fork", epochs=4):
    """Which images Keras' workers transformed: a row for each epoch."""
    context, model = multiprocessing.get_context(method), Seen()
    batches.workers, batches.use_multiprocessing, model.batches = workers, workers > 0, []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("Pool", "Queue"):
            patch.setattr(multiprocessing, name, getattr(context, name))
        patch.setattr("keras.src.trainers.data_adapters.py_dataset_adapter._WORKER_ID_QUEUE", None)
        model.compile(run_eagerly=True)
        model.fit(batches, epochs=epochs, shuffle=False, verbose=0)
    chosen = [changed(images[rows], made) for made, rows in model.batches]
    return np.reshape(chosen, (epochs, len(images))).tolist()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # fork() where there are threads
@pytest.mark.parametrize("seed", [None, 3])
def test_a_generator_augments_anew_in_each_epoch_of_worker_processes(real_images, seed):
    def run(workers):
        function = as_preprocessing_function(negative, 0.5, seed=seed)
        generator = tf.keras.preprocessing.image.ImageDataGenerator(preprocessing_function=function)
        flow = generator.flow(real_images, np.arange(40), batch_size=8, seed=0, shuffle=False)
        return chosen_in_epochs(real_images, flow, workers)

    epochs = run(workers=2)
    assert len({*map(tuple, epochs)}) == 4 and 0.3 < np.mean(epochs) < 0.7
    assert (epochs == run(workers=0)) == (seed is not None)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [None, 3])
def test_spawned_workers_of_keras_augment_anew_in_each_epoch(real_images, seed):
    images = real_images.astype(np.float32)
    batches = Batches(images, as_preprocessing_function(negative, 0.5, seed=seed))
    epochs = chosen_in_epochs(images, batches, workers=2, method="spawn", epochs=2)
    assert epochs[0] != epochs[1] and 0.3 < np.mean(epochs) < 0.7


@pytest.mark.parametrize("seed", [None, 3])
def test_copies_in_spawned_processes_draw_anew(real_images, seed):
    """As Keras hands them over, but by way of a class that is imported sooner than Keras."""
    function = as_preprocessing_function(functools.partial(np.subtract, 1), 0.5, seed=seed)
    images = real_images.astype(np.float32)
    epochs = []
    for _ in range(2):
        start = {"initializer": setattr, "initargs": (Fraction, "function", function)}
        with multiprocessing.get_context("spawn").Pool(1, **start) as pool:
            calls = [operator.methodcaller("function", image) for image in images]
            epochs.append(changed(images, [pool.apply(call, (Fraction,)) for call in calls]))
    assert epochs[0] != epochs[1] and 0.3 < np.mean(epochs) < 0.7


@pytest.mark.parametrize("make", [as_preprocessing_function, as_dataset_map])
def test_a_bridge_is_pickled_small_and_goes_on_with_its_seed(real_images, make):
    made = make(clahe, probability=0.5, seed=3)
    pickled = pickle.dumps(made)
    copy = pickle.loads(pickled)
    assert len(pickled) < 1000
    for image in np.repeat(real_images, 2, axis=0):
        assert np.array_equal(made(image), copy(image))


def test_memory_does_not_grow_with_the_images():
    function = as_preprocessing_function(negative, probability=0.5, seed=1)
    image = np.zeros((2, 2, 1), np.float32)
    before = len(pickle.dumps(function))
    table = function.choose.counts.nbytes
    for i in range(3000):
        image[:, 0, 0] = i % 256, i // 256
        function(image)
    assert len(pickle.dumps(function)) == before
    assert function.choose.counts.nbytes == table == 2**24


def test_an_image_is_counted_alone_among_fifty_thousand():
    """Or else its choice would hang on the order."""
    choose = as_preprocessing_function(negative, probability=0.5, seed=1).choose
    contents = [hashlib.blake2b(str(i).encode()).digest() for i in range(50_000)]
    assert sum(choose._count(content) > 1 for content in contents) <= 2


@pytest.mark.parametrize("seed", [0, 7])
def test_two_streams_are_kept_in_step_by_order(real_images, seed):
    low, high = real_images[:, ::2, ::2], real_images
    one, other = (as_preprocessing_function(negative, 0.5, seed=seed, by="order") for _ in range(2))
    for _ in range(2):
        first = changed(low, [one(image) for image in low])
        assert first == changed(high, [other(image) for image in high])
        assert 0.2 < np.mean(first) < 0.8
    dataset = tf.data.Dataset.from_tensor_slices((low, high)).batch(7)
    one, other = (as_dataset_map(clahe, 0.5, seed=seed, by="order") for _ in range(2))
    both = [*dataset.map(lambda x, y: (one(x), other(y)))]
    pairs = zip(both, dataset, strict=True)
    for (small, large), (small_before, large_before) in pairs:
        assert changed(small, small_before) == changed(large, large_before)


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
    dataset = tf.data.Dataset.from_tensors(np.dstack([real_images[0]] * 2))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"got shape \(1, 32, 32, 6\)"):
        list(dataset.map(as_dataset_map(clahe)))
    floats = tf.data.Dataset.from_tensors(real_images.astype(np.float32))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"value_range=\(0, 255\)"):
        list(floats.map(as_dataset_map(clahe)))


# ---- what people have brought


@pytest.mark.parametrize("value_range", [(0, 256), (0, 65535), (-100, 300)])
def test_bytes_in_another_range_are_refused_and_never_wrap_round(real_images, value_range):
    bridge = as_preprocessing_function(contrast_stretching, value_range=value_range)
    with pytest.raises(TypeError, match=r"pass their range: `value_range=\(0, 255\)`"):
        bridge(real_images[0])


def test_float16_is_reckoned_with_as_float32(real_images):
    function = as_preprocessing_function(clahe)
    coarse, fine = (function(real_images[0].astype(dtype)) for dtype in ("f2", "f4"))
    assert coarse.dtype == np.float16 and np.abs(coarse - fine).max() <= 0.07
    wide = as_preprocessing_function(clahe, value_range=(0, 65535))
    assert np.isfinite(wide((real_images[0] * 200.0).astype("f2"))).all()


def test_a_transform_that_masks_pixels_is_refused(real_images):
    def masked(image):
        return np.ma.masked_less(clahe(image), 0.5)

    bridge = as_preprocessing_function(masked, value_range=(0, 1))
    with pytest.raises(ValueError, match=r"got a masked array from masked.*\.filled\(0\)"):
        bridge(real_images[0] / 255)


def test_key_points_beside_a_batch_are_no_images(real_images):
    points = np.random.default_rng(0).random((len(real_images), 17, 3))
    dataset = tf.data.Dataset.from_tensors((points, real_images)).map(as_dataset_map(clahe))
    ((same, images),) = dataset.as_numpy_iterator()
    assert np.array_equal(same, points) and np.array_equal(images, clahe(real_images))


def test_images_inside_a_dict_in_a_dict_are_refused_in_words(real_images):
    inner = {"image": real_images, "mask": real_images}
    with pytest.raises(TypeError, match=r"got a dict of \['in'\], expected images"):
        tf.data.Dataset.from_tensors({"in": inner}).map(as_dataset_map(clahe))


def test_a_seed_is_a_whole_number():
    as_preprocessing_function(clahe, probability=0.5, seed=np.int64(3))
    for seed in ("a", 1.5, np.random.RandomState(1)):
        with pytest.raises(TypeError, match="expected an int or None"):
            as_preprocessing_function(clahe, probability=0.5, seed=seed)
