"""Advice is followed: the code in each message makes what was refused into the right picture."""

import ast
import contextlib
import functools
import re
import sys
import types
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import skimage
from PIL import Image

import augment_utils as au
from augment_utils import contrast, keras_bridge
from augment_utils.keras_bridge import as_dataset_map, as_preprocessing_function, quiet_startup

with quiet_startup():
    import keras
    import tensorflow as tf

RGB = skimage.data.astronaut()[60:92, 200:240]  # 32 x 40, from dark to bright
RGB = np.rint(np.interp(RGB, (RGB.min(), RGB.max()), (0, 255))).astype(np.uint8)
GREY = RGB[..., 1].copy()
GREY[0, 0], GREY[0, 1] = 0, 255
UNIT, BATCH = RGB / 255, np.stack([RGB, RGB[::-1]])
RGBA = np.dstack([RGB, GREY])
DEEP = GREY.astype(np.uint16) * 16  # 12 bits
VOLUMES = BATCH[:, np.newaxis, ..., :1].repeat(6, 1)
PALETTE = Image.fromarray(RGB).convert("P", palette=Image.Palette.ADAPTIVE)
PALETTE_RGB = np.asarray(PALETTE.convert("RGB"))


def good(images):
    """Stands for a transform: gives back what all of them take."""
    for transform in (au.contrast_stretching, au.histogram_equalization, au.clahe):
        transform(images)
    return images


def scaled(low, high):
    return UNIT * (high - low) + low


def without_a_pixel(value):
    spoiled = UNIT.copy()
    spoiled[3, 4] = value
    return spoiled


def objects(*images):
    array = np.empty(len(images), object)
    array[:] = images
    return array


def tensor_of_torch(array):
    """As torch's: it says how it becomes an array, which a gradient or a GPU forbids NumPy."""

    class Tensor:
        __module__ = "torch"

        def numpy(self, force=False):
            assert force
            return array

        def __array__(self, *_, **__):
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")

    return Tensor()


def keras_batches():
    generator = keras.src.legacy.preprocessing.image.ImageDataGenerator()
    return generator.flow(BATCH, np.arange(2), shuffle=False)


# what came, and the picture that it should become
CASES = {
    "bool": (GREY > 99, (GREY > 99) * 255),
    "ints of a mask": ((GREY > 99).astype(np.int64), (GREY > 99) * 255),
    "int16": (RGB.astype(np.int16), RGB),
    "int32": (RGB.astype(np.int32), RGB),
    "uint64": (RGB.astype(np.uint64), RGB),
    "int32 of 16 bits": (DEEP.astype(np.int32), DEEP / 65535),
    "uint32 of 16 bits": (DEEP.astype(np.uint32) * 16, DEEP / 4096),
    "int8": (GREY.view(np.int8), (GREY.view(np.int8) + 128.0) / 255),
    "tomography": (DEEP.astype(np.int16) - 1024, DEEP / 4080),
    "uint32, whole range": (GREY.astype(np.uint32) * (2**32 // 255), GREY),
    "complex": (UNIT + 0j, UNIT),
    "complex in 0..255": (RGB + 0j, RGB),
    "bfloat16": (UNIT.astype(ml_dtypes.bfloat16), UNIT),
    "bfloat16 in 0..255": (RGB.astype(ml_dtypes.bfloat16), RGB),
    "objects": (RGB.astype(object), RGB),
    "objects in a row": (objects(RGB, RGB[::-1]), BATCH),
    "objects of two sizes": (objects(RGB, RGB[:20]), [RGB, RGB[:20]]),
    "words": (GREY.astype(str), GREY),
    "bytes of words": (GREY.astype("S"), GREY),
    "channels first": (np.moveaxis(RGB, -1, 0), RGB),
    "channels first, a batch": (np.moveaxis(BATCH, -1, 1), BATCH),
    "channels first, RGBA": (np.moveaxis(RGBA, -1, 0), RGB),
    "channels first, floats in 0..255": (np.moveaxis(RGB, -1, 0).astype(float), RGB),
    "channels first, grey": (GREY[np.newaxis], GREY),
    "RGBA": (RGBA, RGB),
    "RGBA, a batch": (np.stack([RGBA, RGBA[::-1]]), BATCH),
    "RGBA, floats in -1..1": (RGBA / 127.5 - 1, RGB),
    "grey and alpha": (np.dstack([GREY, GREY[::-1]]), GREY),
    "a grey batch": (BATCH[..., 0].repeat(4, axis=0), BATCH[..., :1].repeat(4, axis=0)),
    "layers last": (np.dstack([GREY] * 7), np.stack([GREY] * 7)[..., np.newaxis]),
    "a grey batch of volumes": (VOLUMES[..., 0], VOLUMES.reshape(12, 32, 40, 1)),
    "a film": (BATCH[np.newaxis], BATCH),
    "two films of RGBA": (np.stack([RGBA] * 4).reshape(2, 2, *RGBA.shape), np.stack([RGB] * 4)),
    "a row": (GREY.ravel(), GREY),
    "floats in 0..255": (RGB.astype(np.float32), RGB),
    "float16 in 0..255": (RGB.astype(np.float16), RGB),
    "float16 of 16 bits": (scaled(0, 65500).astype(np.float16), scaled(0, 65500) / 65535),
    "floats in -1..1": (scaled(-1, 1), UNIT),
    "floats in -0.5..0.5": (scaled(-0.5, 0.5), UNIT),
    "floats around 0, 255 apart": (scaled(-127.5, 127.5), UNIT),
    "floats of 12 bits": (scaled(0, 4095), UNIT),
    "floats of 16 bits": (scaled(0, 65535), UNIT),
    "floats of a tomography": (scaled(-1024, 3071), UNIT),
    "standardized": (scaled(-2, 3), UNIT),
    "a spline's": (scaled(-0.08, 1.06), scaled(-0.08, 1.06).clip(0, 1)),
    "a spline's of noise": (scaled(-0.3, 1.3), scaled(-0.3, 1.3).clip(0, 1)),
    "a spline's of bytes": (scaled(-9, 262), (scaled(-9, 262) / 255).clip(0, 1)),
    "NaN in one place": (without_a_pixel(np.nan), without_a_pixel(0)),
    "infinity in one place": (without_a_pixel(np.inf), without_a_pixel(1)),
    "NaN among floats in 0..255": (without_a_pixel(np.nan) * 255, without_a_pixel(0)),
    "a masked array": (np.ma.array(RGB, mask=RGB < 9), np.where(RGB < 9, 0, RGB)),
    "nested lists": (RGB.tolist(), RGB),
    "a list of rows": (GREY.tolist(), GREY),
    "a list of images": ([RGB, RGB[::-1]], BATCH),
    "a tuple of floats in 0..255": ((RGB * 1.0, RGB[::-1] * 1.0), BATCH),
    "a list of sizes": ([RGB, RGB[:20], GREY], [RGB, RGB[:20], GREY]),
    "a list of sizes in 0..255": ([RGB * 1.0, RGB[:20] * 1.0], [RGB, RGB[:20]]),
    "images and labels": ((BATCH, np.arange(2)), BATCH),
    "images and labels in a dict": ({"label": np.arange(2), "image": BATCH}, BATCH),
    "a data set": (au.Dataset(BATCH, np.arange(2), BATCH, np.arange(2), ("a", "b"), "two"), BATCH),
    "Pillow, RGB": (Image.fromarray(RGB), RGB),
    "Pillow, grey": (Image.fromarray(GREY), GREY),
    "Pillow, RGBA": (Image.fromarray(RGBA), RGB),
    "Pillow, CMYK": (Image.fromarray(RGB).convert("CMYK"), RGB),
    "Pillow, grey and alpha": (Image.fromarray(GREY).convert("LA"), GREY),
    "Pillow, palette": (PALETTE, PALETTE_RGB),
    "Pillow, one bit": (Image.fromarray(GREY > 99), (GREY > 99) * 255),
    "Pillow, 16 bits": (Image.fromarray(DEEP), DEEP / 65535),
    "Pillow, 32 bits": (Image.fromarray(DEEP.astype(np.int32)), DEEP / 65535),
    "Pillow, floats": (Image.fromarray(GREY.astype(np.float32)), GREY),
    "Pillow, a list": ([Image.fromarray(RGBA)] * 2, np.stack([RGB] * 2)),
    "Pillow, a list of sizes": ([PALETTE, Image.fromarray(RGB[:20])], [PALETTE_RGB, RGB[:20]]),
    "tensor": (tf.constant(RGB), RGB),
    "tensor of bfloat16": (tf.cast(RGB, tf.bfloat16), RGB),
    "tensor, channels first": (tf.transpose(RGB, (2, 0, 1)), RGB),
    "tensors in a list": ([tf.constant(RGB), tf.constant(RGB[::-1])], BATCH),
    "variable": (tf.Variable(UNIT), UNIT),
    "torch": (tensor_of_torch(np.moveaxis(RGB, -1, 0)), RGB),
    "a batch of Keras' folders": (keras_batches(), BATCH),
    "pydicom": (types.SimpleNamespace(pixel_array=DEEP), DEEP / 65535),
    "memory": (memoryview(GREY), GREY),
    "dataset": (tf.data.Dataset.from_tensor_slices(BATCH), BATCH),
}


FILES = {
    "a name": (lambda path: str(path), RGB),
    "a path": (lambda path: path, RGB),
    "names": (lambda path: [str(path)] * 2, np.stack([RGB] * 2)),
    "an array of names": (lambda path: np.array([str(path)] * 2), np.stack([RGB] * 2)),
}

REFUSED = {  # nothing makes a picture of these
    **{"None": None, "a number": 3, "NumPy's number": np.float32(0.5), "a word's list": [None]},
    **{"a set": {1}, "a dict of numbers": {"a": 1}, "ragged numbers": [[1, 2], [3]]},
    **{"no pixel": np.zeros((0, 8), np.uint8), "no axis": np.zeros(()), "all NaN": GREY * np.nan},
    **{"dates": np.zeros((4, 4), "M8[s]"), "fields": np.zeros((4, 4), "u1, u1")},
    **{"letters": np.full((4, 4), "a"), "things": np.full((4, 4), object())},
}

bridge = functools.partial(as_preprocessing_function, au.clahe)
IMAGE = RGB.astype(np.float32)
CALLS = {  # name: a call that takes what the message says as keywords
    "fractions": lambda **kw: au.contrast_stretching(RGB, **{"low": 0.02, "high": 0.98} | kw),
    "percentiles": lambda **kw: au.contrast_stretching(RGB, **{"low": 98, "high": 2} | kw),
    "color": lambda **kw: au.histogram_equalization(RGB, **{"color": "hue"} | kw),
    "OpenCV's clip limit": lambda **kw: au.clahe(RGB, **{"clip_limit": 2.0} | kw),
    "negative clip limit": lambda **kw: au.clahe(RGB, **{"clip_limit": -1} | kw),
    "no tile": lambda **kw: au.clahe(RGB, **{"kernel_size": 0} | kw),
    "too large a tile": lambda **kw: au.clahe(RGB, **{"kernel_size": 10**6} | kw),
    "probability": lambda **kw: bridge(**{"probability": 50} | kw),
    "by": lambda **kw: bridge(**{"by": "luck"} | kw),
    "seed": lambda **kw: bridge(**{"seed": "today"} | kw),
    "no range": lambda **kw: bridge(**{"value_range": (255, 0)} | kw),
    "another range": lambda **kw: bridge(**{"value_range": (0, 1)} | kw)(IMAGE),
    "a range of 16 bits": lambda **kw: bridge(**kw)(IMAGE * 257),
    "a range of 12 bits": lambda **kw: bridge(**kw)(IMAGE * 16),
    "a range around 0": lambda **kw: bridge(**kw)(IMAGE / 127.5 - 1),
    "a range of its own": lambda **kw: bridge(**kw)(IMAGE * 16 - 1024),
    "bytes": lambda **kw: bridge(**{"value_range": (0, 1)} | kw)(RGB),
    "words": lambda **kw: bridge(**kw)(DEEP[..., np.newaxis]),
}

IN_A_BRIDGE = {  # name: value_range, what came, and what it should become
    "ints": ((0, 255), RGB.astype(int), IMAGE),
    "NaN": ((0, 255), without_a_pixel(np.nan) * 255, without_a_pixel(0) * 255),
    "a spline's": ((0, 255), IMAGE * 1.04 - 4, (IMAGE * 1.04 - 4).clip(0, 255)),
    "bfloat16": ((0, 255), RGB.astype(ml_dtypes.bfloat16), IMAGE),
    "tensor": ((-1, 1), tf.constant(scaled(-1, 1)), scaled(-1, 1)),
    "Pillow, palette": ((0, 255), PALETTE, PALETTE_RGB),
}


def grey_of(images):
    return images.mean(axis=-1)


RESULTS = {  # name: a transform that does not keep to the contract; what it means, in 0..1
    "bytes": (lambda images: np.uint8(255 * images), lambda images: images),
    "words": (lambda images: np.uint16(65535 * images), lambda images: images),
    "0..255": (lambda images: 255 * images, lambda images: images),
    "0..65535": (lambda images: 65535 * images, lambda images: images),
    "-1..1": (lambda images: 2 * images - 1, lambda images: images),
    "a spline's": (lambda images: 1.1 * images - 0.05, lambda x: (1.1 * x - 0.05).clip(0, 1)),
    "a list": (lambda images: images.tolist(), lambda images: images),
    "a tensor": (tf.constant, lambda images: images),
    "yes and no": (lambda images: images > 0.5, lambda images: images > 0.5),
}
OTHER_RESULTS = {
    "nothing": lambda images: None,
    "fewer axes": grey_of,
    "one channel": lambda images: images[..., :1],
    "alpha": lambda images: np.concatenate([images, images[..., :1]], -1),
    "another axis": lambda images: images[np.newaxis],
    "another size": lambda images: images[::2, ::2],
    "a number": lambda images: 0.5,
    "ragged": lambda images: [[1, 2], [3]],
}


def as_unit(picture):
    """Floats in 0..1, with no axis but of sides, whatever whole numbers or floats come."""
    picture = np.asarray(picture)
    top = {"uint8": 255, "uint16": 65535}.get(picture.dtype.name)
    if top is None:
        top = 255 if picture.max() > 1 else 1
    return picture.squeeze() / top


def assert_pictures(got, wanted):
    if isinstance(wanted, list):
        assert isinstance(got, list) and len(got) == len(wanted)
        for one, other in zip(got, wanted, strict=True):
            assert_pictures(one, other)
    else:
        assert as_unit(got).shape == as_unit(wanted).shape
        assert np.abs(as_unit(got) - as_unit(wanted)).max() <= 1.01 / 255


def advice(call):
    """The code in the message with which a call is refused."""
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    message = str(caught.value)
    assert re.search("(^|TypeError: )got .*expected ", message)  # TensorFlow says more before it
    (code,) = re.findall("`(.+)`", message)
    return code


def names(**more):
    known = {"np": np, "skimage": skimage, "as_dataset_map": as_dataset_map, "transform": followed}
    return known | {"height": 32, "width": 40, **more}


def followed(images):
    """What comes of following the advice, up to three times, until all transforms take it."""
    for _ in range(4):
        try:
            return good(images)
        except (TypeError, ValueError):
            code = advice(functools.partial(au.clahe, images))
        images = eval(code, names(images=images))
        if "transform" in code:  # of each image, or of a dataset
            return images
    raise AssertionError("the advice does not come to an end")


@pytest.mark.parametrize("name", CASES)
def test_advice_makes_the_right_picture(name):
    images, wanted = CASES[name]
    assert advice(lambda: au.clahe(images))
    repaired = followed(images)
    if isinstance(repaired, tf.data.Dataset):
        repaired = np.stack(list(repaired))
    assert_pictures(repaired, wanted)


@pytest.mark.parametrize("name", FILES)
def test_advice_reads_a_file(name, tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    make, wanted = FILES[name]
    images = make(tmp_path / "a.png")
    assert_pictures(followed(images), wanted)


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_no_picture_is_refused_without_code(name):
    with pytest.raises((TypeError, ValueError), match=r"^got .*expected .*; [^`]+$"):
        au.clahe(REFUSED[name])


@pytest.mark.parametrize("name", CALLS)
def test_advice_on_an_argument_is_taken(name):
    keywords = eval(f"dict({advice(CALLS[name])})")
    CALLS[name](**keywords)


@pytest.mark.parametrize("name", IN_A_BRIDGE)
def test_advice_of_a_bridge_makes_the_right_picture(name):
    value_range, image, wanted = IN_A_BRIDGE[name]
    function = as_preprocessing_function(lambda unit: unit, value_range=value_range)
    result = None
    while result is None:
        image = eval(advice(lambda image=image: function(image)), names(images=image))
        with contextlib.suppress(TypeError, ValueError):
            result = function(image)
    assert np.abs(result.astype(float) - wanted).max() <= 1


@pytest.mark.parametrize("kind", ["float32", "uint8", "uint16"])
@pytest.mark.parametrize("name", RESULTS)
def test_advice_on_what_a_transform_returned_repairs_it(name, kind):
    """Floats in a generator, batches of whole numbers in a dataset."""

    def faulty(images):
        unit = images / np.iinfo(images.dtype).max if images.dtype.kind == "u" else images
        return made(unit)

    made, meant = RESULTS[name]
    top = {"float32": 1, "uint8": 255, "uint16": 65535}[kind]
    batch = np.rint(top * UNIT) if top > 1 else UNIT
    batch = batch.astype(kind)[np.newaxis]
    if name == {"uint8": "bytes", "uint16": "words"}.get(kind):
        return  # is right then

    def checked(transform):
        return keras_bridge._Bridge(transform, (0, 1), None)._checked(batch)

    assert "faulty(images)" in advice(lambda: checked(faulty))
    transform, result = faulty, None
    while result is None:
        code = advice(lambda transform=transform: checked(transform))
        transform = eval(code, names(faulty=faulty, transform=transform))
        with contextlib.suppress(ValueError):
            result = checked(transform)
    assert np.abs(result / top - meant(batch / top)).max() <= 1 / 255


@pytest.mark.parametrize("name", OTHER_RESULTS)
def test_a_transform_that_returns_another_shape_or_nothing_is_named(name):
    def faulty(images):
        return OTHER_RESULTS[name](images)

    with pytest.raises(ValueError, match=r"^got .* from faulty, expected float.*; [^`]+$"):
        as_preprocessing_function(faulty)(IMAGE)


SMALL, LABELS = BATCH.repeat(2, 0), np.arange(4)
MASKS = SMALL[..., :1] // 2
ELEMENTS = {  # of datasets, whose images cannot be known
    "a dict with masks": {"image": SMALL, "label": LABELS, "masks": MASKS},
    "two resolutions and labels": ({"high": SMALL, "low": MASKS}, LABELS),
    "grey without an axis": SMALL[..., 0],
    "grey without an axis, and labels": (SMALL[..., 0], LABELS),
}


def assert_mapped(dataset, function):
    """What has three channels, or no axis for them, went through CLAHE, and nothing else."""
    for before, after in zip(dataset, dataset.map(function), strict=True):
        for old, new in zip(tf.nest.flatten(before), tf.nest.flatten(after), strict=True):
            is_image = old.shape[-1:] == [3] or old.ndim == 2
            wanted = au.clahe(old.numpy()) if is_image else old.numpy()
            assert np.array_equal(new.numpy().squeeze(), wanted.squeeze())


@pytest.mark.parametrize("name", ELEMENTS)
def test_advice_on_an_element_finds_the_images(name):
    dataset = tf.data.Dataset.from_tensor_slices(ELEMENTS[name])
    code = advice(lambda: dataset.map(as_dataset_map(au.clahe)))
    element = next(iter(dataset))
    parts = element if isinstance(element, tuple) else (element,)
    assert code == advice(lambda: as_dataset_map(au.clahe)(*parts))
    assert_mapped(dataset, eval(code, names(clahe=au.clahe)))


@pytest.mark.parametrize(
    "element",
    [
        {"image": SMALL, "label": LABELS},
        {"id": LABELS, "x": SMALL},
        ({"x": SMALL}, LABELS),
        ((SMALL, MASKS), LABELS),
        (LABELS, SMALL),
        (SMALL, MASKS, LABELS),
        {"a": {"b": SMALL}, "c": (LABELS, LABELS)},
    ],
)
def test_images_are_found_in_an_element_that_keeps_its_form(element):
    dataset = tf.data.Dataset.from_tensor_slices(element)
    bridge = as_dataset_map(au.clahe)
    assert dataset.map(bridge).element_spec == dataset.element_spec
    assert_mapped(dataset, bridge)


def test_advice_on_a_ragged_batch_maps_before():
    dataset = tf.data.Dataset.range(20, 24).map(lambda rows: tf.constant(RGB)[:rows])
    code = advice(lambda: dataset.ragged_batch(2).map(as_dataset_map(au.clahe)))
    first = next(iter(eval(code, names(dataset=dataset, clahe=au.clahe))))
    assert np.array_equal(first[1].numpy(), au.clahe(RGB[:21]))
    ragged = next(iter(dataset.ragged_batch(2)))
    assert code == advice(lambda: au.clahe(ragged)).replace("transform", "clahe")


def test_a_symbolic_tensor_is_told_of_the_bridge():
    dataset = tf.data.Dataset.from_tensor_slices(BATCH)
    code = advice(lambda: dataset.map(au.clahe))
    mapped = eval(code, names(dataset=dataset, transform=au.clahe))
    assert np.array_equal(np.stack(list(mapped)), au.clahe(BATCH))
    assert advice(lambda: au.clahe(keras.Input((8, 8, 3)))) == code


@pytest.mark.parametrize("make", [as_preprocessing_function, as_dataset_map])
@pytest.mark.parametrize("transform", [0.5, None, "clahe"])
def test_what_is_no_function_is_refused(make, transform):
    assert callable(eval(advice(lambda: make(transform)), {"clahe": au.clahe}))


# ---- every message has a case above


def lines_of(module, wanted):
    """The lines of its functions where a message is made or chosen, by kind of node."""
    tree = ast.parse(Path(module.__file__).read_text("utf-8"))
    return {(module.__file__, node.lineno) for node in ast.walk(tree) if wanted(node)}


def test_every_message_is_followed(tmp_path, monkeypatch):
    """All errors are raised, and all advice of the tables is chosen, by the cases above."""
    offered, chosen, ran = set(), set(), set()
    first = contrast._first

    def recorded(*rows):
        offered.update(row[1] for row in rows)
        chosen.add(first(*rows)[0])
        return first(*rows)

    def trace(frame, event, argument):
        if frame.f_code.co_filename not in (contrast.__file__, keras_bridge.__file__):
            return None
        ran.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    monkeypatch.setattr(contrast, "_first", recorded)
    tracer = sys.gettrace()
    sys.settrace(trace)
    try:
        for name in CASES:
            test_advice_makes_the_right_picture(name)
        for name in FILES:
            test_advice_reads_a_file(name, tmp_path)
        for name in REFUSED:
            test_what_makes_no_picture_is_refused_without_code(name)
        for name in CALLS:
            test_advice_on_an_argument_is_taken(name)
        for name in IN_A_BRIDGE:
            test_advice_of_a_bridge_makes_the_right_picture(name)
        for name in RESULTS:
            test_advice_on_what_a_transform_returned_repairs_it(name, "float32")
        for name in ELEMENTS:
            test_advice_on_an_element_finds_the_images(name)
        test_a_symbolic_tensor_is_told_of_the_bridge()
        test_advice_on_a_ragged_batch_maps_before()
        test_what_is_no_function_is_refused(as_dataset_map, None)
        monkeypatch.setenv("AUGMENT_THREADS", "0")
        with pytest.raises(ValueError, match="AUGMENT_THREADS=0, expected a number"):
            au.clahe(RGB)
    finally:
        sys.settrace(tracer)
    assert chosen == offered

    def is_message(node):
        returns = node.value if isinstance(node, ast.Return) else None
        is_advice = isinstance(returns, ast.Tuple) and len(returns.elts) == 2
        return (isinstance(node, ast.Raise) and node.exc) or is_advice

    modules = (contrast, keras_bridge)
    assert set().union(*(lines_of(module, is_message) for module in modules)) <= ran
