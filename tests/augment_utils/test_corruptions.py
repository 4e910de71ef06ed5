"""The corruptions: CIFAR-10-C's and gamma, by their formulas, written here image by image."""

import numpy as np
import pytest
from skimage.color import hsv2rgb, rgb2hsv

from augment_utils import corruptions
from augment_utils.corruptions import CORRUPTIONS, SEVERITIES, plasma

every_corruption = pytest.mark.parametrize("name", CORRUPTIONS)


CONSTANTS = {  # written down a second time
    "contrast": {1: 0.75, 2: 0.5, 3: 0.4, 4: 0.3, 5: 0.15},
    "brightness": {1: 0.05, 2: 0.1, 3: 0.15, 4: 0.2, 5: 0.3},
    "fog": {1: (0.2, 3), 2: (0.5, 3), 3: (0.75, 2.5), 4: (1, 2), 5: (1.5, 1.75)},
    "gamma": {1: 1.25, 2: 1.5, 3: 2, 4: 2.5, 5: 3},
}


def by_the_formula(name, unit, severity):
    """One image, float in 0..1."""
    constant = CONSTANTS[name][severity]
    if name == "contrast":
        means = np.mean(unit, axis=(0, 1), keepdims=True)
        return np.clip((unit - means) * constant + means, 0, 1)
    if name == "brightness":
        hsv = rgb2hsv(unit)
        hsv[..., 2] = np.clip(hsv[..., 2] + constant, 0, 1)
        return np.clip(hsv2rgb(hsv), 0, 1)
    return unit**constant


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", ["contrast", "brightness", "gamma"])
def test_follows_its_formula(name, severity, real_images):
    for image in real_images[:8]:
        expected = 255 * by_the_formula(name, image / 255, severity)
        got = CORRUPTIONS[name](image, severity)
        assert got.dtype == np.uint8
        assert np.abs(got - np.floor(expected + 1e-6)).max() == 0
        floats = CORRUPTIONS[name](image / 255, severity)
        assert np.allclose(floats, expected / 255, atol=1e-12)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_fog_follows_its_formula(severity, real_images):
    thickness, decay = CONSTANTS["fog"][severity]
    image = real_images[3] / 255
    cloud = plasma(1, 32, decay, seed=7)[0][..., np.newaxis]
    top = image.max()
    expected = np.clip((image + thickness * cloud) * top / (top + thickness), 0, 1)
    assert np.allclose(corruptions.fog(image, severity, seed=7), expected, atol=1e-12)


@every_corruption
def test_grows_with_severity(name, real_images):
    far = [
        np.abs(CORRUPTIONS[name](real_images, s).astype(int) - real_images).mean()
        for s in SEVERITIES
    ]
    assert far == sorted(far) and far[0] > 1


@every_corruption
@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    "shape", [(1, 1), (5, 7), (5, 7, 1), (6, 4, 3), (2, 9, 33, 3), (2, 8, 8, 1)]
)
def test_keeps_shape_dtype_and_range_and_its_input(name, dtype, shape):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, shape).astype(np.uint8)
    images = images if dtype == np.uint8 else (images / 255).astype(dtype)
    before = images.copy()
    images.setflags(write=False)
    result = CORRUPTIONS[name](images, 3)
    assert result.shape == shape and result.dtype == dtype
    assert result.min() >= 0 and result.max() <= (255 if dtype == np.uint8 else 1)
    assert np.array_equal(images, before) and not np.shares_memory(result, images)


@every_corruption
def test_a_batch_gives_what_its_images_give(name, real_images):
    batch = CORRUPTIONS[name](real_images[:6], 4)
    count = 1 if name == "fog" else 6  # each image of a batch has a cloud of its own
    for i in range(count):
        assert np.array_equal(batch[i], CORRUPTIONS[name](real_images[i], 4))


def test_clouds_are_reproducible_and_all_different():
    clouds = plasma(20, 32, 2.0, seed=1)
    assert np.array_equal(clouds, plasma(20, 32, 2.0, seed=1))
    assert not np.array_equal(clouds, plasma(20, 32, 2.0, seed=2))
    assert len({cloud.tobytes() for cloud in clouds}) == 20
    assert np.array_equal(clouds[:3], plasma(3, 32, 2.0, seed=1))
    assert (clouds.min(axis=(1, 2)) == 0).all() and (clouds.max(axis=(1, 2)) == 1).all()


def test_a_larger_decay_makes_smoother_clouds():
    def roughness(decay):
        clouds = plasma(50, 32, decay)
        return np.abs(np.diff(clouds, axis=1)).mean() / clouds.std()

    assert roughness(3.0) < roughness(2.0) < roughness(1.5)


def test_a_cloud_has_no_seam_where_it_tiles():
    clouds = plasma(200, 32, 3.0)
    inside = np.abs(np.diff(clouds, axis=1)).mean()
    across = np.abs(clouds[:, 0] - clouds[:, -1]).mean()
    assert across < 1.1 * inside < np.abs(clouds[:, 0] - clouds[:, 16]).mean()


@every_corruption
@pytest.mark.parametrize("severity", [0, 6, -1, 2.5, "3", None])
def test_an_unknown_severity_is_refused(name, severity, real_images):
    with pytest.raises(ValueError, match=r"got severity=.*expected one of \(1, 2, 3, 4, 5\)"):
        CORRUPTIONS[name](real_images[0], severity)


@every_corruption
def test_what_the_transforms_refuse_is_refused(name, real_images):
    with pytest.raises(ValueError, match="divide by 255"):
        CORRUPTIONS[name](real_images.astype(float), 1)
    with pytest.raises(TypeError, match="got list"):
        CORRUPTIONS[name]([[0, 1]], 1)
