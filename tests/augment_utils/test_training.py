"""Splits, conditions, models: what goes into a run, and that a seed decides all of it."""

import email.message
import functools
import random
import threading
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import keras
import numpy as np
import pytest

from augment_utils import contrast, load_photo_patches, training
from augment_utils.training import CONDITIONS, TRANSFORMS, Condition


@functools.cache
def patches():
    return load_photo_patches(train_per_class=40, test_per_class=10)


def trained(name, study="B", images=200, epochs=1, seed=3):
    """History and weights of a small run."""
    data, condition = patches(), CONDITIONS.get(name, Condition(augmentation=name))
    split = training.draw_split(data, images, seed)
    model = training.make_model(study, split, condition, epochs, seed)
    done = []
    history = training.train(model, split, condition, epochs, seed, done.append)
    assert done == list(range(1, epochs + 1))
    return history, model


def test_the_posts_cnn_has_the_posts_layers():
    model = training.the_posts_cnn()
    assert model.count_params() == 25_546
    assert [layer.__class__.__name__ for layer in model.layers] == [
        *("Conv2D", "Conv2D", "MaxPooling2D", "Dropout"),
        *("Flatten", "Dense", "Dropout", "Dense"),
    ]
    assert type(model.optimizer).__name__ == "Adadelta"
    assert float(model.optimizer.learning_rate) == 1.0


def test_the_small_cnn_is_small():
    model = training.small_cnn(steps=10)
    assert model.count_params() == 71_242
    assert float(model.optimizer.learning_rate) == pytest.approx(0.002)
    assert model.output_shape == (None, 10)


def test_the_fast_cnn_is_three_blocks_that_learn():
    model = training.fast_cnn(10, steps=60, seed=0)
    assert model.count_params() == 280_288 and model.output_shape == (None, 10)
    kinds = [layer.__class__.__name__ for layer in model.layers]
    assert (kinds.count("Conv2D"), kinds.count("MaxPooling2D")) == (5, 3)
    rates = [float(model.optimizer.learning_rate)]
    x, y = patches().x_train.astype(np.float32) / 255, np.eye(10)[patches().y_train]
    before = model.evaluate(x, y, verbose=0)[1]
    for _ in range(15):
        model.fit(x, y, batch_size=100, verbose=0)
        rates.append(float(model.optimizer.learning_rate))
    assert rates[0] == 0 and rates[-1] == pytest.approx(0, abs=1e-6)
    assert np.argmax(rates) in (3, 4)
    assert model.evaluate(x, y, verbose=0)[1] > before + 0.3


def test_a_split_is_balanced_and_apart():
    split = training.draw_split(patches(), 200, seed=1)
    assert np.bincount(split.y_train).tolist() == [18] * 10
    assert np.bincount(split.y_validation).tolist() == [2] * 10
    rows = [image.tobytes() for image in np.concatenate([split.x_train, split.x_validation])]
    known = {
        image.tobytes(): label
        for image, label in zip(patches().x_train, patches().y_train, strict=True)
    }
    labels = np.concatenate([split.y_train, split.y_validation])
    assert len(set(rows)) == 200 and [known[row] for row in rows] == labels.tolist()


def test_a_split_is_the_seeds():
    first, again, other = (training.draw_split(patches(), 200, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first.x_train, other.x_train)


def test_with_all_images_the_seed_still_draws_the_validation_part():
    first, other = (training.draw_split(patches(), 400, seed) for seed in (1, 2))
    assert not np.array_equal(first.x_validation, other.x_validation)


@pytest.mark.parametrize("images", [0, 50, 150, 205, -100])
def test_a_split_that_does_not_divide_is_refused(images):
    with pytest.raises(ValueError, match=rf"got images={images}, expected a multiple of 100"):
        training.draw_split(patches(), images, seed=0)


def test_a_split_of_more_than_there_is_is_refused():
    with pytest.raises(ValueError, match="there are only 40"):
        training.draw_split(patches(), 500, seed=0)


def batches_of(name, seed=0, epochs=1):
    data, condition = patches(), CONDITIONS.get(name, Condition(augmentation=name))
    batches = training.make_batches(data.x_train, data.y_train, condition, seed)
    drawn = [(x.numpy(), y.numpy()) for _ in range(epochs) for x, y in batches]
    return [np.concatenate(parts) for parts in zip(*drawn, strict=True)]


def as_set(images):
    return {np.rint(255 * image).astype(np.uint8).tobytes() for image in images}


def test_no_step_gives_the_images_shuffled():
    images, labels = batches_of("none")
    assert images.dtype == np.float32 and images.max() <= 1
    assert as_set(images) == {image.tobytes() for image in patches().x_train}
    assert labels.tolist() != patches().y_train.tolist()
    assert sorted(labels) == sorted(patches().y_train)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_is_applied_to_every_image(name):
    transformed = TRANSFORMS[name](patches().x_train)
    assert as_set(batches_of(name)[0]) == {image.tobytes() for image in transformed}


def test_with_a_probability_about_half_are_transformed_and_not_the_same_in_each_epoch():
    raw = {image.tobytes() for image in patches().x_train}
    done = {image.tobytes() for image in contrast.clahe(patches().x_train)}
    images, _ = batches_of("CLAHE, p = 0.5", epochs=2)
    first, second = as_set(images[:400]), as_set(images[400:])
    assert first | second <= raw | done
    assert 150 < len(first & done - raw) < 250
    assert first != second


def test_flips_only_flip():
    raw = {image.tobytes() for image in patches().x_train}
    flipped = {image[:, ::-1].tobytes() for image in patches().x_train}
    drawn = as_set(batches_of("flips")[0])
    assert drawn <= raw | flipped and 150 < len(drawn & flipped - raw) < 250


def test_geometric_moves_every_image():
    raw = {image.tobytes() for image in patches().x_train}
    assert not as_set(batches_of("geometric")[0]) & raw


@pytest.mark.parametrize(
    "name",
    [
        "geometric",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("CLAHE", "HE value, p = 0.5")),
    ],
)
def test_a_seed_decides_everything(name):
    history, model = trained(name, epochs=2)
    again, same = trained(name, epochs=2)
    other, _ = trained(name, epochs=2, seed=4)
    assert history == again != other
    for a, b in zip(model.get_weights(), same.get_weights(), strict=True):
        assert np.array_equal(a, b)


def test_first_weights_are_the_same_under_each_condition():
    split = training.draw_split(patches(), 100, seed=2)
    models = [
        training.make_model(study, split, CONDITIONS[name], 5, seed=2)
        for study in "AB"
        for name in ("none", "CLAHE")
    ]
    for one, other in (models[:2], models[2:]):
        for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
            assert np.array_equal(a, b)


@pytest.mark.parametrize("study", "AB")
def test_a_model_is_the_seeds_whatever_else_draws_random_numbers(study, monkeypatch):
    split = training.draw_split(patches(), 200, seed=3)
    name = training.MODELS[study]
    by_keras = getattr(training, name)

    def variables():
        model = training.make_model(study, split, CONDITIONS["none"], 5, seed=3)
        return [variable.numpy() for variable in model.variables]

    def disturbed(*arguments, **options):
        random.random()  # as threads of Dask do in its workers
        return by_keras(*arguments, **options)

    alone = variables()
    keras.utils.set_random_seed(3)
    undisturbed = [variable.numpy() for variable in by_keras(10).variables]
    monkeypatch.setattr(training, name, disturbed)
    for a, b, c in zip(alone, undisturbed, variables(), strict=True):
        assert np.array_equal(a, b) and np.array_equal(a, c)


def test_todays_adadelta_has_its_own_rate():
    split = training.draw_split(patches(), 100, seed=0)
    model = training.make_model("A", split, CONDITIONS[training.TODAYS_ADADELTA], 5, seed=0)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.001)


def test_scored_both_ways_where_all_training_images_were_transformed():
    history, model = trained("AHE")
    assert set(history) == {"loss", "accuracy", "validation", "validation_transformed"}
    assert set(trained("AHE, p = 0.5")[0]) == {"loss", "accuracy", "validation"}
    images, labels = patches().x_test, patches().y_test
    ways = training.scored_ways(images, CONDITIONS["AHE"])
    assert np.array_equal(ways["raw"], images)
    assert np.array_equal(ways["transformed"], TRANSFORMS["AHE"](images))
    probabilities = model.predict(images.astype(np.float32) / 255, verbose=0)
    expected = np.mean(probabilities.argmax(axis=1) == labels)
    assert training.accuracy(model, images, labels) == pytest.approx(expected)


def test_cats_and_dogs_or_two_other_classes():
    both = training.cats_and_dogs(patches())  # a cat, but no dog
    assert both.class_names == patches().class_names[:2] and set(both.y_train) == {0, 1}
    renamed = replace(patches(), class_names=(*"abcdefgh", "dog", "cat"))
    assert training.cats_and_dogs(renamed).class_names == ("cat", "dog")


def test_it_learns():
    history, _ = trained("none", images=400, epochs=12)
    assert history["accuracy"][-1] > history["accuracy"][0] + 0.2


@pytest.mark.parametrize("tier", training.TIERS)
@pytest.mark.parametrize("study", ["A", "B"])
def test_a_plan_fits_the_data(tier, study):
    classes = patches().class_names[: 2 if study == "A" else 10]
    data = patches().subset(classes=classes)
    plan = training.plan_for(tier, study, data)
    assert plan.images <= len(data.x_train) and plan.test <= len(data.x_test)
    training.draw_split(data, plan.images, seed=0)
    data.subset(test=plan.test)


@pytest.mark.parametrize(("tier", "study"), [("large", "A"), ("class", "Z")])
def test_an_unknown_tier_or_study_is_refused(tier, study):
    with pytest.raises(ValueError, match="expected one of smoke, class, paper and one of A, B"):
        training.plan_for(tier, study, patches())


# ---- the published runs, in a notebook that was opened alone


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """Work in an empty folder, with a module that was installed from this public address."""

    def installed_from(address):
        metadata = email.message.Message()
        if address:
            metadata["Project-URL"] = f"Repository, {address}"
        monkeypatch.setattr(training.importlib.metadata, "metadata", lambda name: metadata)

    monkeypatch.chdir(tmp_path)
    installed_from(None)
    return installed_from


TABLE = """# What the lines mean.
# Where the numbers come from.
study,images,measure,use,verdict,words,seed 0,seed 1,seed 2
A,60,clean,"CLAHE, both sides",better*,"CLAHE, both sides: better",0.5,,0.75
"""


def test_published_runs_are_read_beside_the_notebook(alone):
    Path("published.csv").write_text(TABLE, "utf-8")
    provenance, published = training.published_runs()
    assert provenance == "Where the numbers come from."
    verdict, words, numbers = published["A", 60, "clean"]["CLAHE, both sides"]
    assert (verdict, words) == ("better*", "CLAHE, both sides: better")
    assert numbers.tolist() == [0.5, 0.75]


def test_published_runs_are_fetched_from_the_public_address(alone, tmp_path):
    served = tmp_path / "served" / "raw" / "main" / "results"
    served.mkdir(parents=True)
    (served / "published.csv").write_text(TABLE, "utf-8")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path / "served")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        alone(f"http://127.0.0.1:{server.server_port}")
        _, published = training.published_runs()
        (served / "published.csv").unlink()
        with pytest.raises(FileNotFoundError, match="could not be fetched: copy it"):
            training.published_runs()  # nothing was kept
        server.shutdown()
    assert list(published) == [("A", 60, "clean")]


@pytest.mark.parametrize("address", [None, "http://127.0.0.1:9"])
def test_without_a_table_it_says_where_one_is(alone, address):
    alone(address)
    with pytest.raises(FileNotFoundError, match="copy it from the folder results"):
        training.published_runs()


def test_labels_of_another_shape_and_floats_are_refused():
    x, y = patches().x_test[:4], patches().y_test[:4]
    for images, labels in ((x, y[:, np.newaxis]), (x, y[:3]), (x / 255, y)):
        with pytest.raises(ValueError, match=r"expected uint8 and \(4,\), such as `labels\.ravel"):
            training.accuracy(None, images, labels)


def test_a_model_of_no_study_is_refused():
    with pytest.raises(ValueError, match="got study='b', expected one of A, B"):
        training.make_model("b", None, None, 1, 0)
