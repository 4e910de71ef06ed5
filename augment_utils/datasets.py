"""CIFAR-10 from wherever it can be had, and an embedded stand-in that needs no network."""

import contextlib
import functools
import hashlib
import io
import os
import pickle
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np

CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
CIFAR10_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
)  # fmt: skip
# SHA-256 of the first 1,000 images and labels of both splits
CIFAR10_START = "23f297f32bf613fbbc72930d341f3f9b1af371f66b1abaf0e86b2711f5316a10"

# Keras 3's name for the archive in its cache, which we use too, and Keras 2's.
ARCHIVE_NAMES = ("cifar-10-batches-py-target_archive", "cifar-10-batches-py.tar.gz")
BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
ARRAYS = ("x_train", "y_train", "x_test", "y_test")
EXPECTED = (
    "expected an .npz with x_train, y_train, x_test and y_test, the official "
    "cifar-10-python.tar.gz, the folder it unpacks to, or AUGMENT_DATA=patches"
)

# class name: file in scikit-image's wheel
PHOTOGRAPHS = {
    "astronaut": "astronaut", "brick": "brick", "cat": "chelsea", "coffee": "coffee",
    "coins": "coins", "grass": "grass", "gravel": "gravel", "tissue": "immunohistochemistry",
    "motorcycle": "stereo_motorcycle", "rocket": "rocket",
}  # fmt: skip
PATCH_SIDE = 32
TRAIN_SHARE = 0.75  # of each photograph's width; the rest is for the test patches


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels of a training and a test split.

    Attributes
    ----------
    x_train, x_test : ndarray, (N, 32, 32, 3), uint8
    y_train, y_test : ndarray, (N,), int64
        Indices into ``class_names``.
    class_names : tuple of str
    name : str
        Where the images come from, in words; never a path.
    fingerprint : str
        SHA-256 of the four arrays: two data sets with one fingerprint are the same.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]
    name: str

    @functools.cached_property
    def fingerprint(self) -> str:
        return _sha256(*(getattr(self, key) for key in ARRAYS))

    def __str__(self) -> str:
        return (
            f"{self.name}: {len(self.x_train):,} training and {len(self.x_test):,} test images, "
            f"{len(self.class_names)} classes"
        )

    __repr__ = __str__

    def subset(
        self,
        train: int | None = None,
        test: int | None = None,
        classes: Sequence[str] | None = None,
        seed: int | None = None,
    ) -> "Dataset":
        """A class-balanced part of the data.

        Parameters
        ----------
        train, test : int or None
            How many images, the same number of each class, so a multiple of the
            number of classes. None keeps all images of the chosen classes.
        classes : sequence of str or None
            The classes to keep; labels are renumbered in this order.
        seed : int or None
            None takes the first images of each class; an int draws them at random. They stay
            in their original order.

        Raises
        ------
        ValueError
            An unknown class, a number that does not divide, or too few images.
        """
        given = self.class_names if classes is None else classes
        names = tuple(given) if np.iterable(given) else (given,)
        unknown = [n for n in names if not isinstance(n, str) or n not in self.class_names]
        if unknown or len({*names}) < max(len(names), 1) or isinstance(given, set | frozenset):
            raise ValueError(
                f"got classes={classes!r}, expected a list of different ones among "
                f"{self.class_names}"
            )
        labels = [self.class_names.index(name) for name in names]
        rng = None if seed is None else np.random.default_rng(seed)
        renumber = np.full(len(self.class_names), -1)
        renumber[labels] = np.arange(len(labels))
        train_rows = _balanced_rows(self.y_train, labels, train, "train", rng)
        test_rows = _balanced_rows(self.y_test, labels, test, "test", rng)
        name = f"part of {self.name.removeprefix('part of ')}"
        x_train, y_train = self.x_train[train_rows], renumber[self.y_train[train_rows]]
        x_test, y_test = self.x_test[test_rows], renumber[self.y_test[test_rows]]
        return Dataset(x_train, y_train, x_test, y_test, names, name)


def load_cifar10(path: str | os.PathLike | None = None) -> Dataset:
    """Load CIFAR-10, or, where it cannot be had, photo patches with a loud banner.

    Looks, in this order, at ``path``; the environment variable ``AUGMENT_DATA`` (a path, or
    ``patches``); a verified copy in Keras' cache; the official download.

    Parameters
    ----------
    path : str or path-like or None
        An ``.npz`` with ``x_train``, ``y_train``, ``x_test`` and ``y_test``, the official
        ``cifar-10-python.tar.gz``, or the folder it unpacks to. Nothing in it can run code.

    Raises
    ------
    FileNotFoundError, ValueError
        The path does not exist, or is truncated, corrupt or wrongly shaped.

    References
    ----------
    A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*,
    University of Toronto, 2009.
    """
    path = path or os.environ.get("AUGMENT_DATA")
    if path == "patches":
        return load_photo_patches()
    if path:
        return _read(Path(path).expanduser().absolute())
    try:
        return _read(download_cifar10())
    except (OSError, ValueError) as error:
        _print_banner(error)
        return load_photo_patches()


def load_photo_patches(
    train_per_class: int = 500, test_per_class: int = 100, seed: int = 0
) -> Dataset:
    """Cut 32 × 32 patches from ten photographs that scikit-image ships, one class each.

    Parameters
    ----------
    train_per_class, test_per_class : int
        Patches of each photograph, at different places: for training in its left three
        quarters, for the test in the rest, so that no pixel is in both.
    seed : int
        Of the places and of the order.

    Raises
    ------
    ValueError
        Fewer than one patch is asked for, or more than a photograph has places.
    """
    from skimage import data  # slow to import, and needed only here

    rng = np.random.default_rng(seed)
    parts: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    for name, source in PHOTOGRAPHS.items():
        photo = getattr(data, source)()
        photo = photo[0] if isinstance(photo, tuple) else photo  # the left of a stereo pair
        photo = np.stack([photo] * 3, axis=-1) if photo.ndim == 2 else photo
        border = int(TRAIN_SHARE * photo.shape[1])
        parts["train"].append(_cut_patches(photo[:, :border], train_per_class, name, rng))
        parts["test"].append(_cut_patches(photo[:, border:], test_per_class, name, rng))
    arrays: dict[str, np.ndarray] = {}
    for split, patches in parts.items():
        order = rng.permutation(sum(map(len, patches)))
        labels = np.repeat(np.arange(len(patches)), [len(p) for p in patches])
        arrays |= {f"x_{split}": np.concatenate(patches)[order], f"y_{split}": labels[order]}
    return Dataset(**arrays, class_names=tuple(PHOTOGRAPHS), name="photo patches (not CIFAR-10)")


def download_cifar10() -> Path:
    """Path of the verified official archive in Keras' cache, fetched if it is not there.

    A killed or failed download leaves nothing that could be read by mistake.
    """
    import pooch  # slow to import, and needed only here

    return find_cached_archive() or Path(
        pooch.retrieve(
            CIFAR10_URL,
            known_hash=CIFAR10_SHA256,
            fname=ARCHIVE_NAMES[0],
            path=_cache_folder(),
            # seconds to connect, and to wait for the next bytes
            downloader=pooch.HTTPDownloader(progressbar=bool(sys.stderr), timeout=(5, 30)),
        )
    )


def find_cached_archive() -> Path | None:
    """Path of the official archive in Keras' cache if its SHA-256 is right, else None."""
    for name in ARCHIVE_NAMES:
        path = _cache_folder() / name
        if path.is_file():
            with open(path, "rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() == CIFAR10_SHA256:
                    return path
    return None


def save_npz(dataset: Dataset, path: str | os.PathLike) -> None:
    """Write a file that :func:`load_cifar10` reads, whole or not at all."""
    arrays = {key: getattr(dataset, key) for key in ARRAYS}
    with whole_file(path) as file:
        np.savez_compressed(file, **arrays, class_names=np.array(dataset.class_names))


def is_cifar10(dataset: Dataset) -> bool:
    """Whether the first 1,000 images of each split are CIFAR-10's own."""
    return _sha256(*(getattr(dataset, key)[:1000] for key in ARRAYS)) == CIFAR10_START


# ---- a file, whole or not at all


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[IO[bytes]]:
    """A file open for bytes, which replaces `path` when the block ends without an error.

    Of two processes that write the same file, the last one's stays.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            yield file
        partial.replace(path)
    except OSError as error:
        raise OSError(not_written(path, error)) from error
    finally:
        with contextlib.suppress(OSError):  # on a read-only disk there is none to remove
            partial.unlink(missing_ok=True)


def not_written(path: str | os.PathLike, error: OSError) -> str:
    """Why nothing was written there, and what to do."""
    return (
        f"{path} could not be written: {error.strerror or error}; expected a folder that can be "
        "written and room on its disk: mend that, or choose another folder (--help says how)"
    )


# ---- from a file to arrays


def _read(path):
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file or folder; {EXPECTED}")
    try:
        if zipfile.is_zipfile(path):
            arrays, class_names = _read_npz(path)
        else:
            pickled = _batches_in_folder(path) if path.is_dir() else _batches_in_archive(path)
            arrays, class_names = _arrays_of_batches(pickled), CIFAR10_CLASSES
        dataset = Dataset(**_checked(arrays, class_names), class_names=class_names, name=path.name)
    except Exception as error:  # the readers of damaged files raise nearly anything
        raise ValueError(
            f"{path}: not CIFAR-10, or damaged: {error or type(error).__name__}; {EXPECTED}"
        ) from error
    return replace(dataset, name=f"CIFAR-10 ({path.name})") if is_cifar10(dataset) else dataset


def _read_npz(path):
    with np.load(path, allow_pickle=False) as file:
        # NumPy reads what a member's header says, and may not come to its end, where the sum counts
        if damaged := file.zip.testzip():
            raise ValueError(f"the checksum (CRC) of {damaged} is wrong")
        _refuse_if_incomplete(file, ARRAYS)
        names = file["class_names"].tolist() if "class_names" in file else CIFAR10_CLASSES
        return {key: file[key] for key in ARRAYS}, tuple(names)


def _batches_in_archive(path):
    with tarfile.open(path) as archive:
        batches = {
            Path(member.name).name: archive.extractfile(member).read()  # type: ignore[union-attr]
            for member in archive  # of which the files can always be read
            if member.isfile() and Path(member.name).name in BATCHES
        }
        while archive.fileobj.read(2**20):  # to the end, where the checksum is
            pass
    return batches


def _batches_in_folder(path):
    inner = path / "cifar-10-batches-py"
    folder = inner if inner.is_dir() else path
    return {name: (folder / name).read_bytes() for name in BATCHES if (folder / name).is_file()}


def _refuse_if_incomplete(found, names):
    if missing := [name for name in names if name not in found]:
        raise ValueError(f"it lacks {', '.join(missing)}")


def _arrays_of_batches(pickled):
    _refuse_if_incomplete(pickled, BATCHES)
    *train, test = (_unpickle_batch(name, pickled[name]) for name in BATCHES)
    pairs = [*map(np.concatenate, zip(*train, strict=True)), *test]
    return dict(zip(ARRAYS, pairs, strict=True))


def _unpickle_batch(name, pickled):
    try:
        batch = _BatchUnpickler(io.BytesIO(pickled), encoding="bytes").load()
        images = batch[b"data"].array.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        labels = batch[b"labels"]
        return np.ascontiguousarray(images), np.asarray(getattr(labels, "array", labels))
    except Exception as error:
        raise ValueError(f"in {name}, {error or type(error).__name__}") from error


class _PickledDtype:
    def __init__(self, name, *_):
        self.dtype = np.dtype(_text(name))
        if self.dtype.kind not in "iu":
            raise pickle.UnpicklingError(f"it has an array of {name!r}, expected whole numbers")

    def __setstate__(self, state):
        self.dtype = self.dtype.newbyteorder(_text(state[1]))


class _PickledArray:
    def __init__(self, *_):
        pass

    def __setstate__(self, state):
        _, shape, described, is_fortran, content = state
        numbers = np.frombuffer(content, described.dtype)
        self.array = numbers.reshape(shape, order="F" if is_fortran else "C")


def _text(name):
    return name.decode() if isinstance(name, bytes) else name


IN_A_BATCH = {
    ("numpy", "ndarray"): object,
    ("numpy", "dtype"): _PickledDtype,
    ("numpy.core.multiarray", "_reconstruct"): _PickledArray,
    ("numpy._core.multiarray", "_reconstruct"): _PickledArray,
    ("_codecs", "encode"): bytes,
}


class _BatchUnpickler(pickle._Unpickler):
    """Knows what a batch is made of, and refuses everything else that a pickle may call.

    NumPy's own arrays and types believe what a pickle says of them, and a damaged one makes them
    crash; so the above stand in for them. The compiled unpickler takes as much memory as a
    damaged number says; so this is the one in Python.
    """

    def find_class(self, module, name):
        if (module, name) not in IN_A_BATCH:
            raise pickle.UnpicklingError(
                f"the pickle asks for {module}.{name}, which no batch needs; it was not run"
            )
        return IN_A_BATCH[module, name]


def _checked(arrays, class_names):
    if not all(isinstance(name, str) for name in class_names):
        raise ValueError(f"its class_names are {class_names!r}, expected text")
    for split in ("train", "test"):
        images, labels = arrays[f"x_{split}"], arrays[f"y_{split}"]
        x, y = (f"{each.dtype} of shape {each.shape}" for each in (images, labels))
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (32, 32, 3):
            raise ValueError(f"x_{split} is {x}, expected uint8 (N, 32, 32, 3)")
        if labels.dtype.kind not in "iu" or labels.shape not in [(len(images),), (len(images), 1)]:
            raise ValueError(f"y_{split} is {y}, expected {len(images)} integers")
        if len(images) == 0:
            raise ValueError(f"x_{split} holds no image")
        if labels.min() < 0 or labels.max() >= len(class_names):
            ends = f"goes from {labels.min()} to {labels.max()}"
            raise ValueError(f"y_{split} {ends}, expected labels 0 to {len(class_names) - 1}")
    labels = {key: arrays[key].astype(np.int64).reshape(-1) for key in ("y_train", "y_test")}
    return arrays | labels


# ---- small things


def _balanced_rows(labels, classes, size, split, rng):
    """Sorted indices of `size` images, the same number of each class (None: all)."""
    if size is None:
        return np.flatnonzero(np.isin(labels, classes))
    share, rest = divmod(size, len(classes)) if isinstance(size, (int, np.integer)) else (0, 0)
    if rest or share < 1:
        raise ValueError(f"got {split}={size}, expected a multiple of {len(classes)} classes")
    rows = []
    for label in classes:
        of_class = np.flatnonzero(labels == label)
        if len(of_class) < share:
            raise ValueError(
                f"got {split}={size}, which takes {share} images of each class, "
                f"but of one there are only {len(of_class)}"
            )
        rows.append(of_class[:share] if rng is None else rng.choice(of_class, share, replace=False))
    return np.sort(np.concatenate(rows))


def _cut_patches(photo, count, name, rng):
    windows = np.lib.stride_tricks.sliding_window_view(photo, (PATCH_SIDE, PATCH_SIDE, 3))
    places = windows[:, :, 0].shape[:2]
    most = places[0] * places[1]
    if not isinstance(count, (int, np.integer)) or not 1 <= count <= most:
        raise ValueError(
            f"got {count} patches per class, expected 1 to {most} "
            f"(the different places in this part of {name!r})"
        )
    return windows[:, :, 0][np.unravel_index(rng.choice(most, count, replace=False), places)]


def _cache_folder():
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser() / "datasets"


def _sha256(*arrays):
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _print_banner(error):
    """To stderr, which notebooks show in red."""
    line = "=" * 72
    reason = getattr(error, "strerror", None) or type(error).__name__  # such as a full disk
    print(
        f"{line}\n"
        "  THESE ARE NOT CIFAR-10'S IMAGES\n"
        f"  CIFAR-10 could not be had ({reason}). In its place you get\n"
        "  32 x 32 patches of ten photographs, so pictures and numbers differ\n"
        "  from those in the text.\n"
        "  With a network:  python -m augment_utils data\n"
        "  With a file:     set AUGMENT_DATA to its path\n"
        "  To stay with the patches and not see this: AUGMENT_DATA=patches\n"
        f"{line}",
        file=sys.stderr,
    )
