"""The data: where the images come from, and what happens to bad files and bad networks."""

import hashlib
import io
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from augment_utils import Dataset, datasets, load_cifar10, load_photo_patches
from tests.common import wait_for

SHAPES = {"x_train": (50, 32, 32, 3), "x_test": (10, 32, 32, 3)}


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch, tmp_path):
    """No AUGMENT_DATA, an empty Keras cache, and a download address that refuses."""
    monkeypatch.delenv("AUGMENT_DATA", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(datasets, "CIFAR10_URL", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    return tmp_path / "keras home" / "datasets"


def arrays():
    """Of 50 training and 10 test images, the same each time."""
    rng = np.random.default_rng(0)
    made = {key: rng.integers(0, 256, shape, np.uint8) for key, shape in SHAPES.items()}
    labels = {key.replace("x", "y"): np.arange(len(x)) % 10 for key, x in made.items()}
    return made | labels


@pytest.fixture(name="arrays")
def its_own_arrays():
    return arrays()


@pytest.fixture
def archive(monkeypatch, arrays):
    """With the hash that is expected of a download."""
    content = archive_of(batches_of(arrays))
    monkeypatch.setattr(datasets, "CIFAR10_SHA256", sha256(content))
    return content


def batches_of(arrays, pickled=None):
    """The official archive's files, from five training batches of ten and a test batch."""
    parts = {
        f"data_batch_{i + 1}": (arrays["x_train"][10 * i :][:10], arrays["y_train"][10 * i :][:10])
        for i in range(5)
    } | {"test_batch": (arrays["x_test"], arrays["y_test"])}
    files = {
        name: pickle.dumps(
            {
                b"data": images.transpose(0, 3, 1, 2).reshape(len(images), -1),
                b"labels": labels.tolist(),
            },
            protocol=2,
        )
        for name, (images, labels) in parts.items()
    }
    return files | (pickled or {})


def archive_of(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def assert_same(dataset, arrays):
    for key, array in arrays.items():
        assert np.array_equal(getattr(dataset, key), array.reshape(getattr(dataset, key).shape))


# ---- good files


def test_an_npz_is_read(tmp_path, arrays):
    arrays["y_train"] = arrays["y_train"].astype(np.uint8)[:, None]  # as Keras has it
    np.savez(tmp_path / "ten images.npz", **arrays)
    dataset = load_cifar10(tmp_path / "ten images.npz")
    assert_same(dataset, arrays)
    assert dataset.y_train.shape == (50,) and dataset.y_train.dtype == np.int64
    assert dataset.class_names[3] == "cat" and dataset.name == "ten images.npz"


@pytest.mark.parametrize("inner", ["", "cifar-10-batches-py"])
def test_a_folder_of_batches_is_read(tmp_path, arrays, inner):
    folder = tmp_path / "unpacked"
    (folder / inner).mkdir(parents=True)
    for name, content in batches_of(arrays).items():
        (folder / inner / name).write_bytes(content)
    assert_same(load_cifar10(folder), arrays)


def test_an_archive_is_read(tmp_path, arrays):
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_bytes(archive_of(batches_of(arrays)))
    assert_same(load_cifar10(str(path)), arrays)


def test_a_batch_pickled_by_python_2_is_read(tmp_path, arrays):
    """As the official ones are: protocol 2, byte strings, NumPy's old module names."""
    official = batches_of(arrays)["test_batch"].replace(b"numpy._core.", b"numpy.core.")
    assert b"numpy.core.multiarray" in official
    path = tmp_path / "old.tar.gz"
    path.write_bytes(archive_of(batches_of(arrays, {"test_batch": official})))
    assert_same(load_cifar10(path), arrays)


# ---- the order of sources


def test_the_path_comes_before_the_environment(monkeypatch, tmp_path, arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    np.savez(tmp_path / "b.npz", **arrays)
    monkeypatch.setenv("AUGMENT_DATA", str(tmp_path / "a.npz"))
    assert load_cifar10().name == "a.npz"
    assert load_cifar10(tmp_path / "b.npz").name == "b.npz"
    monkeypatch.setenv("AUGMENT_DATA", "patches")
    assert load_cifar10(tmp_path / "b.npz").name == "b.npz"


def test_the_environment_can_ask_for_patches_without_a_banner(monkeypatch, capsys):
    monkeypatch.setenv("AUGMENT_DATA", "patches")
    assert "photo patches" in load_cifar10().name
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", datasets.ARCHIVE_NAMES)
def test_a_verified_copy_in_keras_cache_is_used(empty_cache, archive, arrays, name):
    empty_cache.mkdir(parents=True)
    (empty_cache / name).write_bytes(archive)
    assert_same(load_cifar10(), arrays)


def test_a_wrong_copy_in_keras_cache_is_not_opened(empty_cache, arrays, capsys):
    empty_cache.mkdir(parents=True)
    (empty_cache / datasets.ARCHIVE_NAMES[0]).write_bytes(archive_of(batches_of(arrays)))
    assert "photo patches" in load_cifar10().name
    assert "NOT CIFAR-10" in capsys.readouterr().err


@pytest.mark.parametrize("is_windowless", [False, True])  # as a service, which has no stderr
def test_a_download_is_verified_and_kept(monkeypatch, empty_cache, archive, arrays, is_windowless):
    if is_windowless:
        monkeypatch.setattr(sys, "stderr", None)
    with serving(archive) as (url, requests):
        monkeypatch.setattr(datasets, "CIFAR10_URL", url)
        assert_same(load_cifar10(), arrays)
        assert_same(load_cifar10(), arrays)
    assert len(requests) == 1
    assert [path.name for path in empty_cache.iterdir()] == [datasets.ARCHIVE_NAMES[0]]


# ---- bad networks: patches, a banner, and nothing left in the cache


def test_a_refused_connection_gives_patches_and_a_banner(empty_cache, capsys):
    dataset = load_cifar10()
    assert dataset.name == "photo patches (not CIFAR-10)"
    banner = capsys.readouterr().err
    assert "THESE ARE NOT CIFAR-10'S IMAGES" in banner and "AUGMENT_DATA" in banner
    assert list(empty_cache.glob("*")) == []


def test_no_network_gives_patches_and_a_banner(monkeypatch, capsys):
    monkeypatch.setattr(datasets, "CIFAR10_URL", "http://no-such-host.invalid/cifar.tar.gz")
    assert "photo patches" in load_cifar10().name
    assert "NOT CIFAR-10" in capsys.readouterr().err


@pytest.mark.parametrize("break_off", [False, True])
def test_what_is_not_the_whole_right_file_is_not_kept(
    monkeypatch, empty_cache, archive, capsys, break_off
):
    """A hotel's login page, say, or half of it all."""
    with serving(archive if break_off else b"<html>please log in</html>", break_off) as (url, _):
        monkeypatch.setattr(datasets, "CIFAR10_URL", url)
        assert "photo patches" in load_cifar10().name
    assert "NOT CIFAR-10" in capsys.readouterr().err
    assert list(empty_cache.iterdir()) == []


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no such signal")
def test_a_killed_download_leaves_nothing_to_be_read(empty_cache):
    script = (
        "import sys; from augment_utils import datasets;"
        "datasets.CIFAR10_URL = sys.argv[1]; datasets.download_cifar10()"
    )
    with (
        serving(os.urandom(200_000), stall=True) as (url, _),
        subprocess.Popen([sys.executable, "-c", script, url]) as child,
    ):
        # half of it is there
        wait_for(lambda: any(path.stat().st_size for path in empty_cache.glob("*")), child)
        child.kill()
    assert datasets.find_cached_archive() is None


def test_a_cache_that_cannot_be_written_gives_patches(monkeypatch, tmp_path, capsys):
    (tmp_path / "a file").write_text("no folder can be made under a file")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "a file"))
    assert "photo patches" in load_cifar10().name
    assert "NOT CIFAR-10" in capsys.readouterr().err


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@contextmanager
def serving(content, break_off=False, stall=False):
    """A server on this machine: its address, and the list of requests it got.

    It can break off after half of the content, or stall there until the end.
    """
    requests, end = [], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if break_off or stall else content)
            if stall:
                end.wait(60)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/cifar-10-python.tar.gz", requests
    finally:
        end.set()
        server.shutdown()
        thread.join()
        server.server_close()


# ---- bad files: one error that names the file and says what is expected

BAD_NPZ = {
    "lacks a key": (lambda a: a.pop("y_test"), "it lacks y_test"),
    "one image": (lambda a: a.update(x_train=a["x_train"][0]), r"x_train is uint8 .*\(32, 32, 3\)"),
    "channels first": (
        lambda a: a.update(x_test=a["x_test"].transpose(0, 3, 1, 2)),
        r"x_test is uint8 of shape \(10, 3, 32, 32\)",
    ),
    "floats": (lambda a: a.update(x_train=a["x_train"] / 255), "x_train is float64"),
    "other number of labels": (
        lambda a: a.update(y_train=a["y_train"][:-1]),
        r"y_train is int64 of shape \(49,\), expected 50 integers",
    ),
    "float labels": (lambda a: a.update(y_test=a["y_test"] / 1), "y_test is float64"),
    "one-hot labels": (lambda a: a.update(y_test=np.eye(10, dtype=int)), r"shape \(10, 10\)"),
    "label 10": (lambda a: a.update(y_train=a["y_train"] + 1), "y_train goes from 1 to 10"),
    "label -1": (lambda a: a.update(y_train=a["y_train"] - 1), "y_train goes from -1 to 8"),
    "no image": (
        lambda a: a.update(x_test=a["x_test"][:0], y_test=a["y_test"][:0]),
        "x_test holds no image",
    ),
    "pickled objects": (
        lambda a: a.update(y_train=np.array([{}] * 50, dtype=object)),
        "allow_pickle=False",
    ),
    "class names are numbers": (lambda a: a.update(class_names=np.arange(10)), "expected text"),
}


@pytest.mark.parametrize("bad", BAD_NPZ)
def test_a_bad_npz_is_refused(tmp_path, arrays, bad):
    damage, message = BAD_NPZ[bad]
    damage(arrays)
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    assert_refused(path, message)


def assert_refused(path, message):
    with pytest.raises(ValueError, match=message) as caught:
        load_cifar10(path)
    assert str(path) in str(caught.value) and "expected" in str(caught.value)


def test_a_truncated_npz_is_refused(tmp_path, arrays):
    path = tmp_path / "cut.npz"
    np.savez(path, **arrays)
    path.write_bytes(path.read_bytes()[:-5000])
    assert_refused(path, "damaged")


def test_a_flipped_byte_in_an_npz_is_noticed(tmp_path, arrays):
    path = tmp_path / "flipped.npz"
    np.savez(path, **arrays)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert_refused(path, "CRC")


def test_an_npz_is_read_to_its_checksums(tmp_path, arrays):
    """Which stand behind what NumPy reads, if a member has more than its header says."""
    path = tmp_path / "more.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for key, array in arrays.items():
            np.lib.format.write_array(member := io.BytesIO(), array)
            archive.writestr(f"{key}.npy", member.getvalue() + b"more")
    content = bytearray(path.read_bytes())
    content[content.index(arrays["x_train"].tobytes()[:100])] ^= 1
    path.write_bytes(content)
    assert_refused(path, r"the checksum \(CRC\) of x_train\.npy is wrong")


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.99])
def test_a_truncated_archive_is_refused(tmp_path, arrays, keep):
    archive = archive_of(batches_of(arrays))
    path = tmp_path / "cut.tar.gz"
    path.write_bytes(archive[: int(keep * len(archive)) if keep < 1 else keep])
    assert_refused(path, "damaged")


BAD_BATCHES = {
    "in data_batch_3": lambda b: b.update(data_batch_3=b["data_batch_3"][:-100]),
    "it lacks data_batch_2, test_batch": lambda b: (b.pop("data_batch_2"), b.pop("test_batch")),
}


@pytest.mark.parametrize("message", BAD_BATCHES)
def test_an_archive_of_bad_batches_is_refused(tmp_path, arrays, message):
    batches = batches_of(arrays)
    BAD_BATCHES[message](batches)
    path = tmp_path / "bad.tar.gz"
    path.write_bytes(archive_of(batches))
    assert_refused(path, message)


def test_files_and_folders_of_another_kind_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("not an archive")
    assert_refused(tmp_path / "notes.txt", "damaged")
    assert_refused(tmp_path, "it lacks data_batch_1")


def test_a_missing_file_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("AUGMENT_DATA", str(tmp_path / "gone.npz"))
    with pytest.raises(FileNotFoundError, match=r"gone\.npz: there is no such file"):
        load_cifar10()


class Payload:
    """Unpickled freely, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("where", ["archive", "folder", "npz"])
def test_a_malicious_pickle_does_not_run(tmp_path, arrays, where):
    proof = tmp_path / "the payload ran"
    malicious = pickle.dumps({b"data": Payload(proof), b"labels": [0]}, protocol=2)
    pickle.loads(malicious)
    assert proof.exists()  # it does run where nothing stops it
    proof.unlink()

    path = tmp_path / "malicious"
    if where == "npz":
        arrays["x_train"] = np.array([Payload(proof)], dtype=object)
        np.savez(path, **arrays)
        path = tmp_path / "malicious.npz"
    elif where == "folder":
        path.mkdir()
        for name, content in batches_of(arrays, {"test_batch": malicious}).items():
            (path / name).write_bytes(content)
    else:
        path.write_bytes(archive_of(batches_of(arrays, {"data_batch_1": malicious})))
    assert_refused(path, "allow_pickle=False" if where == "npz" else "it was not run")
    assert not proof.exists()


# ---- the Dataset


def test_the_fingerprint_is_of_the_arrays(tmp_path, arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    np.savez_compressed(tmp_path / "b.npz", **arrays)
    same = [load_cifar10(tmp_path / name).fingerprint for name in ("a.npz", "b.npz")]
    assert same[0] == same[1] and len(same[0]) == 64
    arrays["x_test"][3, 2, 1, 0] ^= 1
    np.savez(tmp_path / "c.npz", **arrays)
    assert load_cifar10(tmp_path / "c.npz").fingerprint != same[0]


@pytest.fixture
def whole(arrays):
    arrays["y_train"] = np.random.default_rng(1).permutation(arrays["y_train"])
    return Dataset(**arrays, class_names=datasets.CIFAR10_CLASSES, name="random")


def test_a_subset_is_balanced_and_in_order(whole):
    part = whole.subset(train=20, test=10)
    assert np.bincount(part.y_train).tolist() == [2] * 10
    assert np.bincount(part.y_test).tolist() == [1] * 10
    firsts = sorted(i for c in range(10) for i in np.flatnonzero(whole.y_train == c)[:2])
    assert np.array_equal(part.x_train, whole.x_train[firsts])
    assert part.name == "part of random"


def test_a_subset_of_classes_is_renumbered(whole):
    part = whole.subset(classes=("dog", "cat"))
    assert part.class_names == ("dog", "cat")
    assert np.array_equal(part.x_train[part.y_train == 0], whole.x_train[whole.y_train == 5])
    assert np.array_equal(part.x_train[part.y_train == 1], whole.x_train[whole.y_train == 3])
    assert len(part.x_train) == 10 and len(part.x_test) == 2


def test_a_random_subset_depends_on_its_seed_alone(whole):
    prints = [whole.subset(train=20, seed=seed).fingerprint for seed in (1, 1, 2)]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train": 15}, "train=15, expected a multiple of 10"),
        ({"test": 0}, "test=0, expected a multiple"),
        ({"train": 100}, "takes 10 images of each class"),
        ({"classes": ("cat", "wolf")}, "wolf"),
        ({"classes": ("cat", "cat")}, "different ones"),
        ({"classes": ()}, "different ones"),
        ({"classes": {"cat", "dog"}}, "expected a list of"),
    ],
)
def test_impossible_subsets_are_refused(whole, arguments, message):
    with pytest.raises(ValueError, match=message):
        whole.subset(**arguments)


# ---- the embedded patches


def test_patches_are_photographs_in_ten_classes():
    patches = load_photo_patches()
    assert patches.x_train.shape == (5000, 32, 32, 3) and patches.x_train.dtype == np.uint8
    assert patches.x_test.shape == (1000, 32, 32, 3) and patches.y_test.shape == (1000,)
    assert np.bincount(patches.y_train).tolist() == [500] * 10
    assert np.bincount(patches.y_test).tolist() == [100] * 10
    assert len(set(patches.y_train[:50])) == 10  # shuffled
    assert patches.fingerprint == load_photo_patches().fingerprint
    assert patches.fingerprint != load_photo_patches(seed=1).fingerprint


def test_patches_come_from_their_photograph_and_share_no_pixel():
    from skimage import data

    patches = load_photo_patches(train_per_class=5, test_per_class=5)
    cat = data.chelsea()
    border = int(0.75 * cat.shape[1])
    places = np.lib.stride_tricks.sliding_window_view(cat, (32, 32, 3))[:, :, 0]
    for x, y, left in [
        (patches.x_train, patches.y_train, True),
        (patches.x_test, patches.y_test, False),
    ]:
        for patch in x[y == patches.class_names.index("cat")]:
            _, columns = np.nonzero((places == patch).all(axis=(2, 3, 4)))
            assert len(columns) and (columns + 32 <= border if left else columns >= border).all()


@pytest.mark.parametrize(
    "arguments", [{"train_per_class": 0}, {"train_per_class": 2.5}, {"test_per_class": 10**6}]
)
def test_impossible_numbers_of_patches_are_refused(arguments):
    with pytest.raises(ValueError, match="expected 1 to"):
        load_photo_patches(**arguments)
