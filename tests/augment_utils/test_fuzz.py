"""Random inputs, good and hostile: a right result or the documented error, never anything else.

`make test` tries about 2,000, `make check` about 33,000, the same ones each time.
"""

import contextlib
import functools
import io
import pickle
import re
import warnings
import zipfile
from fractions import Fraction
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

import augment_utils as au
from augment_utils.corruptions import CORRUPTIONS
from augment_utils.datasets import CIFAR10_CLASSES
from tests.augment_utils.test_contrast import PAIRS, TRANSFORMS, assert_agree
from tests.augment_utils.test_datasets import Payload, archive_of, arrays, assert_same, batches_of

# what it says of an input that fails may be long, and must not hide why it fails
pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")


def inputs(few, many):
    """How many a test tries in `make test`, and with Hypothesis' profile "many" in `make check`."""
    is_many = settings.get_current_profile_name() == "many"

    def decorate(test):
        count = many if is_many else few
        chosen = settings(
            max_examples=count,
            deadline=None,  # the first call of a transform compiles it
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        return pytest.mark.slow(chosen(test)) if is_many else chosen(test)

    return decorate


def result_or_refusal(call, errors=(TypeError, ValueError)):
    """What a call returns; or None, if its error is documented and says what came."""
    try:
        return call()
    except errors as error:
        assert str(error).startswith("got "), f"{type(error).__name__}: {error}"
        return None


# ---- images, and how they may lie in memory

FUNCTIONS = {function.__name__: function for function in TRANSFORMS} | {
    f"{name} {severity}": functools.partial(function, severity=severity)
    for name, function in CORRUPTIONS.items()
    for severity in (1, 5)
}
DTYPES = (
    "uint8",
    "uint16",
    ">u2",
    "float32",
    "float64",
    "float16",
    "longdouble",
    ">f2",
    ">f4",
    ">f8",
)
FILLINGS = {
    "any": lambda rng, shape: rng.random(shape),
    "few levels": lambda rng, shape: rng.choice([0.1, 0.4, 0.404, 0.97], shape),
    "black and white": lambda rng, shape: rng.integers(0, 2, shape).astype(float),
    "flat": lambda rng, shape: np.full(shape, rng.random()),
    "nearly flat": lambda rng, shape: 0.5 + rng.random(shape) * 10.0 ** -rng.integers(1, 17),
    "nearly black": lambda rng, shape: rng.random(shape) * 10.0 ** -rng.integers(3, 320),
    "nearly white": lambda rng, shape: 1 - rng.random(shape) * 10.0 ** -rng.integers(1, 17),
    "a ramp": lambda rng, shape: np.linspace(0, 1, int(np.prod(shape))).reshape(shape),
    "one pixel": lambda rng, shape: np.eye(1, int(np.prod(shape)))[0].reshape(shape),
}
SIDES = st.integers(1, 40) | st.sampled_from([1, 2, 7, 8, 9, 16, 31, 32, 33])


@st.composite
def good_images(draw, fillings=tuple(FILLINGS), dtypes=DTYPES):
    """An image or a batch, in C order."""
    count, channels = draw(st.integers(1, 3)), draw(st.sampled_from([1, 3]))
    shape = (draw(SIDES), draw(SIDES))
    shape = draw(st.sampled_from([shape, (*shape, channels), (count, *shape, channels)]))
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    unit = FILLINGS[draw(st.sampled_from(fillings))](rng, shape)
    return np.rint(top_of(dtype) * unit).astype(dtype) if dtype.kind == "u" else unit.astype(dtype)


def top_of(dtype):
    return np.iinfo(dtype).max if dtype.kind == "u" else 1


class Odd(np.ndarray):
    """A subclass whose own methods would spoil a result."""

    def __getitem__(self, *_, **__):
        raise NotImplementedError

    reshape = astype = min = max = copy = __array_ufunc__ = __array_function__ = __getitem__


def unaligned(images):
    there = np.frombuffer(bytearray(images.nbytes + 1), images.dtype, offset=1)
    there[:] = images.ravel()
    return there.reshape(images.shape)


LAYOUTS = {
    "as it is": lambda images: images,
    "Fortran": np.asfortranarray,
    "every second": lambda images: np.repeat(images, 2, axis=1)[:, ::2],
    "backwards": lambda images: np.ascontiguousarray(images[::-1, ::-1])[::-1, ::-1],
    "last axis first": lambda images: np.moveaxis(np.moveaxis(images, -1, 0).copy(), 0, -1),
    "unaligned": unaligned,
    "a field": lambda images: np.rec.fromarrays([images, images], names="a, b")["b"],
    "a matrix": lambda images: images.view(np.matrix) if images.ndim == 2 else images,
    "a subclass": lambda images: images.view(Odd),
}


@inputs(200, 5000)
@given(
    images=good_images(),
    layout=st.sampled_from(sorted(LAYOUTS)),
    writeable=st.booleans(),
    name=st.sampled_from(sorted(FUNCTIONS)),
)
@example(np.eye(9, dtype=np.uint8), "a matrix", True, "clahe")
@example(np.eye(9), "a subclass", True, "contrast_stretching")
def test_a_good_image_gives_a_good_one(images, layout, writeable, name):
    """The same however it lies in memory: new and plain, of its shape, dtype and range."""
    laid_out = LAYOUTS[layout](images)
    laid_out.setflags(write=writeable)
    result = FUNCTIONS[name](laid_out)
    assert type(result) is np.ndarray and result.flags.writeable
    assert result.shape == images.shape and result.dtype == images.dtype
    assert result.min() >= 0 and result.max() <= top_of(images.dtype)
    came = np.asarray(laid_out)
    assert np.array_equal(came, images) and not np.shares_memory(result, came)
    assert np.array_equal(result, FUNCTIONS[name](images))


def has_flat_plane(image):
    """Whether some histogram unit has (nearly) one grey level: the documented difference."""
    planes = [image, image.max(axis=-1) if image.ndim == 3 else image]
    planes += list(np.moveaxis(image, -1, 0)) if image.ndim == 3 else []
    return any(np.ptp(plane.astype(float)) < 0.005 * top_of(plane.dtype) for plane in planes)


@inputs(500, 5000)
@given(
    images=good_images(  # but float16, which is coarse
        fillings=("any", "few levels", "black and white", "a ramp", "one pixel"),
        dtypes=("uint8", "uint16", ">u2", "float32", "float64", "longdouble", ">f4", ">f8"),
    ),
    pair=st.sampled_from(sorted(PAIRS)),
)
def test_agrees_with_scikit_image(images, pair):
    ours, theirs = PAIRS[pair]
    batch = images if images.ndim == 4 else images[np.newaxis]
    for image, result in zip(batch, ours(images).reshape(batch.shape), strict=True):
        assert np.array_equal(ours(image).ravel(), result.ravel())
        plain = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
        plain = plain.astype(f"{plain.dtype.kind}{min(plain.itemsize, 8)}")
        if not has_flat_plane(plain):
            assert_agree(result, theirs(plain))


# ---- what is no image, and arguments that are none

ARRAY = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
NO_IMAGES = (
    *(None, [[1, 2], [3, 4]], 0.5, 3, "image", b"bytes", {}, memoryview(b"1"), ARRAY.flat, iter),
    *(np.float64(0.5), np.uint8(3), np.dtype("u1"), pytest, Path("gone.png"), set(), (), iter([])),
    *(Image.fromarray(ARRAY), Image.fromarray(ARRAY).convert("P"), [ARRAY, ARRAY[:3]], [ARRAY] * 2),
    *({"image": ARRAY}, (ARRAY[np.newaxis], [1]), au.Dataset, [Image.fromarray(ARRAY)], [[]], [()]),
)
NO_DTYPES = (
    *(ml_dtypes.bfloat16, "int8", "uint32", ">i4", "int64", "bool", "complex64"),
    *("S3", "U2", "M8[s]", "m8[D]", "V4"),
)


@st.composite
def bad_images(draw):
    """What the contract excludes, and how the message begins."""
    images = draw(good_images())
    unit = images / top_of(images.dtype) if images.dtype.kind == "u" else images
    kind = draw(st.sampled_from(["value", "dtype", "axes", "channels", "empty", "masked", "none"]))
    if kind == "value":
        wrong = st.sampled_from([np.nan, np.inf, -np.inf, -0.01, 1.01, -6e4, 6e4, 255])
        spoiled = unit.copy()
        spoiled.flat[draw(st.integers(0, unit.size - 1))] = draw(wrong)
        return spoiled, "got (NaN or infinity|floats from)"
    if kind == "dtype":
        dtypes = st.sampled_from([*NO_DTYPES, object, [("r", "u1"), ("g", "u1")]])
        return np.zeros(images.shape, draw(dtypes)), "got dtype"
    if kind == "axes":
        return np.zeros((1,) * draw(st.sampled_from([0, 1, 5, 6, 30]))), "got shape"
    if kind == "channels":
        return np.zeros((4, 4, draw(st.sampled_from([2, 4, 5, 30])))), "got shape"
    if kind == "empty":
        shape = list(images.shape)
        shape[draw(st.integers(0, len(shape) - 1))] = 0
        return np.zeros(shape, images.dtype), "got shape"
    if kind == "masked":
        mask = draw(st.sampled_from([False, True, np.ma.nomask]))
        return np.ma.array(images, mask=mask), "got a masked array"
    return draw(st.sampled_from(NO_IMAGES)), "got "


@inputs(200, 4000)
@given(bad=bad_images(), name=st.sampled_from(sorted(FUNCTIONS)))
@example((np.ma.array([[0.2, np.nan]], mask=[[0, 1]]), "got a masked array"), "clahe")
def test_what_is_no_image_is_refused(bad, name):
    """And where there is advice, following it comes to what the transforms take, or to an end."""
    images, words = bad
    for _ in range(5):
        with pytest.raises((TypeError, ValueError)) as caught:
            FUNCTIONS[name](images)
        assert re.match(words, str(caught.value))
        code = re.search("`([^`]+)`", str(caught.value))
        if not code or "imread" in code[1] or "transform" in code[1]:
            return
        known = {"np": np, "images": images, "width": 1, "height": np.size(images)}
        images, words = eval(code[1], known), "got "
        with contextlib.suppress(TypeError, ValueError):
            FUNCTIONS[name](images)
            return
    raise AssertionError("the advice does not come to an end")


ODD_THINGS = st.sampled_from(
    [
        *(None, True, "3", "value", b"joint", [], [8], (8, 8), (8, 8, 8), {}, {8}, {8, 9}, ...),
        *(object(), 1j, Fraction(1, 2), 2.0, 10**30, -(10**30), 2**63, 1e308, 5e-324, 1e-9),
        *(np.float16(0.5), np.int8(3), np.array(8), np.array([8, 9]), np.array([[1, 2], [3, 4]])),
        *(([1, 2], 3), (8, "8"), (8, 0), (2**31, 1), (1, 2**62), 10**9, np.ma.masked, (0, 1)),
        *((1, 0), (0, np.nan), (-1e308, 1e308), (0, 10**400), "01", slice(3), range(5)),
    ]
)
ODD_THINGS |= st.floats() | st.integers()

ARGUMENTS = {
    "low": lambda thing: au.contrast_stretching(ARRAY, low=thing),
    "high": lambda thing: au.contrast_stretching(ARRAY, high=thing),
    "color of stretching": lambda thing: au.contrast_stretching(ARRAY, color=thing),
    "color of HE": lambda thing: au.histogram_equalization(ARRAY, thing),
    "kernel_size": lambda thing: au.clahe(ARRAY, thing),
    "clip_limit": lambda thing: au.clahe(ARRAY, clip_limit=thing),
    "severity": lambda thing: CORRUPTIONS["contrast"](ARRAY, thing),
}


@inputs(250, 3000)
@given(name=st.sampled_from(sorted(ARGUMENTS)), thing=ODD_THINGS)
@example("kernel_size", 10**6)  # took memory for a tile of so many pixels, or hours
@example("severity", 3.0)
@example("color of HE", ["value"])
def test_an_argument_is_one_or_is_refused(name, thing):
    result = result_or_refusal(lambda: ARGUMENTS[name](thing), ValueError)
    assert result is None or (result.shape == ARRAY.shape and result.dtype == np.uint8)


@inputs(150, 2000)
@given(
    images=good_images() | bad_images().map(lambda bad: bad[0]),
    value_range=st.sampled_from([(0, 255), (0, 1), (-1, 1)]),
    probability=st.sampled_from([0, 0.5, 1]),
)
@pytest.mark.filterwarnings("ignore:got floats up to")  # 0..1 where 0..255 are declared
def test_the_bridge_gives_what_the_transform_gives_or_refuses(images, value_range, probability):
    low, high = value_range
    function = au.as_preprocessing_function(au.clahe, probability, value_range, seed=1)
    result = result_or_refusal(lambda: function(images))
    if result is not None:
        assert type(result) is np.ndarray and not np.shares_memory(result, images)
        assert result.shape == images.shape and result.dtype == images.dtype
        assert result.min() >= low - 1e-6 and result.max() <= high + 1e-6
        if probability == 0:
            assert np.array_equal(result, images)


@inputs(150, 2000)
@given(name=st.sampled_from(["probability", "value_range"]), thing=ODD_THINGS)
@example("value_range", (-1e308, 1e308))  # whose width is infinite
@pytest.mark.filterwarnings("ignore:got floats up to")
def test_an_argument_of_the_bridge_is_one_or_is_refused(name, thing):
    made = result_or_refusal(
        lambda: au.as_preprocessing_function(au.clahe, **{name: thing}), ValueError
    )
    if made is not None:
        result = result_or_refusal(lambda: made(np.full((4, 4, 1), 0.5)))
        assert result is None or np.isfinite(result).all()


# ---- parts of a data set

WHOLE = au.Dataset(**arrays(), class_names=CIFAR10_CLASSES, name="random")


@inputs(100, 2000)
@given(
    train=ODD_THINGS | st.integers(0, 60),
    test=st.none() | st.integers(-1, 12),
    classes=ODD_THINGS | st.lists(st.sampled_from([*CIFAR10_CLASSES, "wolf", 3])) | st.none(),
)
def test_a_part_is_balanced_or_refused(train, test, classes):
    part = result_or_refusal(lambda: WHOLE.subset(train, test, classes), ValueError)
    if part is not None:
        for labels, size in ((part.y_train, train), (part.y_test, test)):
            counts = np.bincount(labels, minlength=len(part.class_names))
            assert len({*counts}) == 1 and (size is None or len(labels) == size)


# ---- damaged files


@functools.cache
def good_files():
    """The bytes of a good file of each kind, and where its structure is: {suffix: ...}."""
    made = {
        ".tar.gz": archive_of(batches_of(arrays())),
        ".batch": batches_of(arrays())["test_batch"],
    }
    for suffix, how in ((".npz", zipfile.ZIP_STORED), (".small.npz", zipfile.ZIP_DEFLATED)):
        with zipfile.ZipFile(buffer := io.BytesIO(), "w") as archive:
            for key, array in arrays().items():
                np.lib.format.write_array(member := io.BytesIO(), array)
                # np.savez would put the time into it, and the inputs would be others each time
                archive.writestr(zipfile.ZipInfo(f"{key}.npy"), member.getvalue(), how)
        made[suffix] = buffer.getvalue()
    marks = rb"PK|NUMPY|ustar|cifar-10|descr|shape|numpy|data|labels|_codecs"
    return {
        suffix: (content, [0, *(match.start() for match in re.finditer(marks, content))])
        for suffix, content in made.items()
    }


@st.composite
def damaged(draw, suffix):
    """A good file with some bytes changed, put in or taken out, mostly near its structure."""
    content, marks = good_files()[suffix]
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        anywhere = st.integers(0, len(content))
        near = st.tuples(st.sampled_from(marks), st.integers(0, 80)).map(sum)
        place = draw(near | near | st.integers(1, 200).map(lambda n: len(content) - n) | anywhere)
        place = min(max(place, 0), max(len(content) - 1, 0))
        kind = draw(st.sampled_from(["bit", "bit", "bytes", "in", "out", "end"]))
        if kind == "bit" and content:
            content[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "bytes":
            new = draw(st.binary(min_size=1, max_size=8))
            content[place : place + len(new)] = new
        elif kind == "in":
            content[place:place] = draw(st.binary(min_size=1, max_size=8))
        elif kind == "out":
            del content[place : place + draw(st.integers(1, 600))]
        elif kind == "end":
            del content[place:]
    return bytes(content)


def read_or_refusal(path):
    """What is read, or None, if the error is the one that names the file."""
    with warnings.catch_warnings():  # NumPy has some about odd headers
        warnings.simplefilter("ignore")
        try:
            return au.load_cifar10(path)
        except ValueError as error:
            assert str(error).startswith(f"{path}: not CIFAR-10, or damaged: ")
            return None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


def test_an_archives_checksum_counts(folder):
    """It stands at the end, behind what the reader of archives looks at."""
    path, content = folder / "checksum.tar.gz", bytearray(archive_of(batches_of(arrays())))
    content[-5] ^= 1
    path.write_bytes(content)
    assert read_or_refusal(path) is None


@pytest.mark.parametrize("suffix", [".npz", ".small.npz", ".tar.gz"])
@inputs(60, 1500)
@given(data=st.data())
def test_a_damaged_file_is_refused_or_read_rightly(suffix, data, folder):
    """Their checksums leave no third possibility."""
    path = folder / f"damaged{suffix}"
    path.write_bytes(data.draw(damaged(suffix)))
    dataset = read_or_refusal(path)
    if dataset is not None:
        assert_same(dataset, arrays())


@inputs(60, 1500)
@given(content=damaged(".batch"))
def test_a_damaged_batch_is_refused_or_read_as_images(content, folder):
    """A pickle has no checksum: other pixels are not noticed, anything else is."""
    path = folder / "a batch is damaged.tar.gz"
    path.write_bytes(archive_of(batches_of(arrays(), {"test_batch": content})))
    dataset = read_or_refusal(path)
    if dataset is not None:
        assert dataset.x_test.shape[1:] == (32, 32, 3) and dataset.x_test.dtype == np.uint8
        assert len(dataset.y_test) == len(dataset.x_test) > 0 and dataset.y_test.max() < 10
        assert "CIFAR" not in dataset.name


NAMES = [*batches_of(arrays())]


@inputs(60, 1000)
@given(
    members=st.dictionaries(
        st.sampled_from([*NAMES, *NAMES, "batches.meta", "../data_batch_1", "test_batch/more"]),
        st.sampled_from(NAMES),
    )
)
@example(members={name: name for name in NAMES})
def test_members_can_be_missing_or_swapped(members, folder):
    """All six are there, by name, or it is refused."""
    path, contents = folder / "members.tar.gz", batches_of(arrays())
    path.write_bytes(archive_of({name: contents[source] for name, source in members.items()}))
    dataset = read_or_refusal(path)
    assert (dataset is not None) == ({*NAMES} <= {name.rpartition("/")[2] for name in members})
    if dataset is not None:
        expected = small_part(contents[members["test_batch"]])
        assert np.array_equal(dataset.x_test, expected)


def small_part(pickled):
    return pickle.loads(pickled)[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


@pytest.mark.parametrize("flags", [1, 4, 63])
def test_a_batch_cannot_lie_about_its_type(flags, folder):
    """NumPy's own type believed that its bytes are pointers, and the process crashed."""

    class Type:
        def __reduce__(self):
            return np.dtype, ("u1", False, True), (3, "|", None, None, None, -1, -1, flags)

    class Images:
        def __reduce__(self):
            function, arguments, state = np.zeros((10, 3072), np.uint8).__reduce__()
            return function, arguments, (*state[:2], Type(), False, state[-1])

    path = folder / "lying.tar.gz"
    pickled = pickle.dumps({b"data": Images(), b"labels": [*range(10)]}, 2)
    path.write_bytes(archive_of(batches_of(arrays(), {"test_batch": pickled})))
    dataset = au.load_cifar10(path)
    assert dataset.x_test.dtype.flags == np.dtype("u1").flags and not dataset.x_test.any()


PROOF = "the payload ran"
HOSTILE = (
    Payload(PROOF),
    [Payload(PROOF)],
    {b"data": Payload(PROOF), b"labels": [0]},
    {b"data": np.array([Payload(PROOF)], object), b"labels": [0]},
    {b"data": np.zeros((1, 3072), np.uint8), b"labels": [Payload(PROOF)]},
)
CALLS = (
    b"cos\nsystem\n(S'touch \"the payload ran\"'\ntR.",
    b"(S'touch \"the payload ran\"'\nios\nsystem\n.",
    b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
    b"cnumpy\nload\n(S'x'\ntR.",
    b'c__builtin__\neval\n(S\'open("the payload ran", "w")\'\ntR.',
    b"\x80\x02\x82\x01.",
    b"Psomething\n.",
)
THINGS = st.sampled_from([None, 0, b"data", "labels", 1e300, np.uint8(3), np.array({}), *HOSTILE])
THINGS |= st.lists(THINGS, max_size=3) | st.tuples(THINGS)
THINGS |= st.fixed_dictionaries({b"data": THINGS, b"labels": THINGS})


@inputs(100, 1500)
@given(
    pickled=st.builds(pickle.dumps, THINGS, st.integers(0, 5)) | st.sampled_from(CALLS),
    where=st.sampled_from(["batch", "member of an npz", "npz itself"]),
)
def test_no_pickle_runs(pickled, where, folder, monkeypatch):
    monkeypatch.chdir(folder)
    path = folder / "hostile"
    if where == "batch":
        path.write_bytes(archive_of(batches_of(arrays(), {"test_batch": pickled})))
    elif where == "npz itself":
        path.write_bytes(pickled)
    else:
        path = path.with_suffix(".npz")
        with zipfile.ZipFile(path, "w") as archive:
            for key, array in arrays().items():
                np.lib.format.write_array(buffer := io.BytesIO(), array)
                archive.writestr(f"{key}.npy", pickled if key == "x_test" else buffer.getvalue())
    assert read_or_refusal(path) is None
    assert not (folder / PROOF).exists()


# Headers that lie: numbers of pixels that no memory holds, negative ones, objects, no literal.
DESCRIPTIONS = ("|u1", "|O", ">u8", "<f8", "|S0", "<U9", "|V0", "|u9", [("a", "|O")], 3)
LENGTHS = st.sampled_from([0, 1, 10, 32, -1, 2**31, 2**62, 2**64, "3"])
SHAPES = st.sampled_from([(10, 32, 32, 3), (2**40, 32, 32, 3), (10, 32, 96), 10])
HEADERS = st.fixed_dictionaries(
    {
        "descr": st.sampled_from(DESCRIPTIONS),
        "fortran_order": st.sampled_from([True, False, "no"]),
        "shape": SHAPES | st.lists(LENGTHS, max_size=5).map(tuple),
    }
)


@inputs(60, 1500)
@given(header=HEADERS, key=st.sampled_from(sorted(arrays())), text=st.none() | st.text(max_size=20))
def test_a_header_that_lies_is_refused(header, key, text, folder):
    path = folder / "header.npz"
    told = (str(header) if text is None else text).encode() + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays().items():
            np.lib.format.write_array(buffer := io.BytesIO(), array)
            content = buffer.getvalue()
            if name == key:
                length = len(told).to_bytes(2, "little")
                content = b"\x93NUMPY\x01\x00" + length + told + array.tobytes()
            archive.writestr(f"{name}.npy", content)
    dataset = read_or_refusal(path)
    if dataset is not None:
        assert getattr(dataset, key).size == arrays()[key].size
