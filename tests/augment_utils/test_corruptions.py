"""The corruptions: CIFAR-10-C's and ours, by their formulas, written here image by image."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.color import hsv2rgb, rgb2hsv

from augment_utils import corruptions
from augment_utils.corruptions import LOCAL_CORRUPTIONS, MORE_CORRUPTIONS, SEVERITIES, plasma

CORRUPTIONS = corruptions.CORRUPTIONS | MORE_CORRUPTIONS | LOCAL_CORRUPTIONS
every_corruption = pytest.mark.parametrize("name", CORRUPTIONS)


CONSTANTS = {  # written down a second time
    "contrast": {1: 0.75, 2: 0.5, 3: 0.4, 4: 0.3, 5: 0.15},
    "brightness": {1: 0.05, 2: 0.1, 3: 0.15, 4: 0.2, 5: 0.3},
    "fog": {1: (0.2, 3), 2: (0.5, 3), 3: (0.75, 2.5), 4: (1, 2), 5: (1.5, 1.75)},
    "gamma": {1: 1.25, 2: 1.5, 3: 2, 4: 2.5, 5: 3},
    "noise": {1: 0.04, 2: 0.06, 3: 0.08, 4: 0.09, 5: 0.1},
    "blur": {1: 0.4, 2: 0.6, 3: 0.7, 4: 0.8, 5: 1},
    "JPEG": {1: 80, 2: 65, 3: 58, 4: 50, 5: 40},
    "saturation": {1: (0.3, 0), 2: (0.1, 0), 3: (1.5, 0), 4: (2, 0.1), 5: (2.5, 0.2)},
    "shading": {1: 0.5, 2: 0.6, 3: 0.7, 4: 0.8, 5: 0.9},
    "haze": {1: 0.35, 2: 0.5, 3: 0.6, 4: 0.7, 5: 0.85},
    "shadow": {1: 0.6, 2: 0.45, 3: 0.35, 4: 0.25, 5: 0.15},
    "spotlight": {1: 0.5, 2: 0.4, 3: 0.3, 4: 0.2, 5: 0.12},
}
SEEDED = ("fog", "noise")  # each image of a batch has a cloud, or noise, of its own


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
    if name == "blur":
        channels = [gaussian_filter(unit[..., c], constant, mode="nearest") for c in range(3)]
        return np.stack(channels, axis=-1)
    if name == "JPEG":
        file = io.BytesIO()
        Image.fromarray(np.uint8(np.rint(255 * unit))).save(file, "JPEG", quality=constant)
        return np.array(Image.open(file)) / 255
    if name == "saturation":
        hsv = rgb2hsv(unit)
        hsv[..., 1] = np.clip(hsv[..., 1] * constant[0] + constant[1], 0, 1)
        return np.clip(hsv2rgb(hsv), 0, 1)
    if name in LOCAL_CORRUPTIONS:
        return np.stack(
            [[by_place(name, unit, y, x, constant) for x in range(32)] for y in range(32)]
        )
    return unit**constant


def by_place(name, unit, y, x, constant):
    """One pixel."""
    if name == "shading":
        return unit[y, x] * (1 - constant * x / 31)
    if name == "haze":
        share = constant * x / 31
        return unit[y, x] * (1 - share) + 0.86 * share
    if name == "shadow":
        return unit[y, x] * (constant if x < 16 else 1)
    away = np.hypot(y - 15.5, x - 15.5) / 32
    return unit[y, x] * (constant + (1 - constant) * np.exp(-((away / 0.24) ** 2) / 2))


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name not in SEEDED])
def test_follows_its_formula(name, severity, real_images):
    for image in real_images[:8]:
        expected = 255 * by_the_formula(name, image / 255, severity)
        got = CORRUPTIONS[name](image, severity)
        assert got.dtype == np.uint8
        assert np.abs(got - np.floor(expected + 1e-9)).max() == 0
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


@pytest.mark.parametrize("severity", SEVERITIES)
def test_noise_follows_its_formula(severity):
    grey = np.full((40, 64, 64), 0.5)
    added = corruptions.noise(grey[..., np.newaxis], severity, seed=3) - 0.5
    assert added.std() == pytest.approx(CONSTANTS["noise"][severity], rel=0.01)
    assert abs(added.mean()) < 0.001
    assert not np.array_equal(added[0], added[1])
    assert np.array_equal(
        added[:2], corruptions.noise(grey[:2, ..., np.newaxis], severity, 3) - 0.5
    )
    assert not np.array_equal(added, corruptions.noise(grey[..., np.newaxis], severity, 4) - 0.5)


def test_a_grey_image_has_no_saturation(real_images):
    grey = real_images[0][..., :1]
    assert np.array_equal(corruptions.saturation(grey, 5), grey)


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name != "saturation"])
def test_grows_with_severity(name, real_images):
    far = [
        np.abs(CORRUPTIONS[name](real_images, s).astype(int) - real_images).mean()
        for s in SEVERITIES
    ]
    assert far == sorted(far) and far[0] > 0.2


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
    count = 1 if name in SEEDED else 6
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
