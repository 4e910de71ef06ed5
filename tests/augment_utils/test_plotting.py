"""Figures: alt text that survives into the page, and what the figure forms draw."""

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from nbconvert import HTMLExporter

from augment_utils.plotting import plot_histograms, plot_images, show

ALT = 'A deer, nearly as dark as the wood "behind" it & hard to see.'


@pytest.fixture
def displayed(monkeypatch):
    """What `show` sends to the notebook."""
    shell = InteractiveShell.instance()
    publisher = CapturingDisplayPublisher(shell=shell)
    monkeypatch.setattr(shell, "display_pub", publisher)
    yield publisher.outputs
    InteractiveShell.clear_instance()


def test_alt_text_survives_into_html(displayed, real_images):
    show(plot_images(real_images[:2]), alt=ALT)
    (message,) = displayed
    output = nbformat.v4.new_output(
        "display_data", data=message["data"], metadata=message["metadata"]
    )
    cell = nbformat.v4.new_code_cell("show(...)", outputs=[output])
    html, _ = HTMLExporter(template_name="classic").from_notebook_node(
        nbformat.v4.new_notebook(cells=[cell])
    )
    page = BeautifulSoup(html, "html.parser")
    (image,) = page.select("img")
    assert image["alt"] == ALT
    assert image["src"].startswith("data:image/png;base64,iVBOR")


def test_a_shown_figure_is_closed(displayed):
    fig = plot_images(np.zeros((1, 4, 4), np.uint8))
    show(fig, alt=ALT)
    assert not plt.fignum_exists(fig.number)


@pytest.mark.parametrize("alt", ["", "  ", None, 3])
def test_a_figure_without_alt_text_is_refused(alt):
    fig = plt.figure()
    with pytest.raises(ValueError, match="expected a sentence"):
        show(fig, alt=alt)
    plt.close(fig)
    with pytest.raises(TypeError):
        show(fig)


def test_images_are_drawn_unsmoothed_and_unstretched(real_images):
    images = [real_images[0], real_images[0] / 255, real_images[0, ..., 0], real_images[0, ..., :1]]
    fig = plot_images(images, titles=list("abcd"), columns=3)
    drawn = [axis.images[0] for axis in fig.axes if axis.images]
    assert [axis.get_title() for axis in fig.axes[:4]] == list("abcd")
    assert len(fig.axes) == 6 and not fig.axes[5].axison
    for image, shown in zip(images, drawn, strict=True):
        assert shown.get_interpolation() == "nearest"
        assert np.array_equal(shown.get_array(), image.squeeze())
        assert shown.get_clim() == ((0, 1) if image.dtype == float else (0, 255))
    plt.close(fig)


@pytest.mark.parametrize("kind", [np.uint8, float])
def test_histograms_count_every_pixel_and_end_at_one(real_images, kind):
    images = real_images[:3] if kind is np.uint8 else real_images[:3] / 255
    fig = plot_histograms(list(images), ["a", "b", "c"])
    below, cdfs = fig.axes[3:6], fig.axes[6:9]
    for image, axis, cdf in zip(real_images, below, cdfs, strict=False):
        value = image.max(axis=-1)
        counts = axis.patches[0].get_data().values
        assert np.array_equal(counts, np.histogram(value, 64, (0, 256))[0])
        assert axis.get_xlim()[0] < 0 and axis.get_xlim()[1] > 256  # no bar behind the frame
        level, share = cdf.lines[0].get_data()
        assert share[100] == np.mean(value <= 100) and share[-1] == 1 and level[-1] == 255
    assert len({axis.get_ylim() for axis in below}) == 1
    plt.close(fig)


def test_channels_have_a_line_style_each(real_images):
    fig = plot_histograms([real_images[0]], ["a frog"], channels=True)
    assert len({line.get_linestyle() for line in fig.axes[2].lines}) == 3
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["R", "G", "B"]
    plt.close(fig)


def test_16_bits_are_drawn_as_the_floats_they_stand_for(real_images):
    deep = real_images[0].astype(np.uint16) * 257
    fig = plot_histograms([deep, real_images[0]], ["16 bits", "bytes"])
    one, other = (axis.patches[0].get_data().values for axis in fig.axes[2:4])
    assert np.array_equal(one, other)
    assert np.allclose(fig.axes[0].images[0].get_array(), real_images[0] / 255)
    plt.close(fig)


@pytest.mark.parametrize("plot", [plot_images, lambda images: plot_histograms(images, [""])])
def test_what_the_transforms_refuse_is_not_drawn(real_images, plot):
    with pytest.raises(ValueError, match="divide by 255: `images / 255`"):
        plot([real_images[0].astype(float)])
    assert plt.get_fignums() == []


@pytest.mark.parametrize("plot", [plot_images, lambda images: plot_histograms(images, [""])])
def test_one_image_or_none_is_no_row_of_images(real_images, plot):
    for images in (real_images[0], real_images[0][..., 0], real_images[0][..., :1], [], ()):
        with pytest.raises(ValueError, match=r"expected several; of one: `\[image\]`"):
            plot(images)
    plt.close(plot_images(real_images[:2]))
    with pytest.raises(ValueError, match="got 2 images and 1 titles"):
        plot_images(real_images[:2], ["one"])
    assert plt.get_fignums() == []


@pytest.mark.parametrize("titles", [np.array(["a", "b"]), [3, 1]])
def test_titles_may_be_an_array_or_labels(real_images, titles):
    fig = plot_images(real_images[:2], titles)
    assert [axis.get_title() for axis in fig.axes] == [str(title) for title in titles]
    plot_histograms(real_images[:2], titles)


@pytest.mark.parametrize("form", [plot_images, plot_histograms])
def test_batches_among_the_images_are_refused(real_images, form):
    with pytest.raises(ValueError, match=r"got a batch of shape .* expected images: `\[\*batch\]`"):
        form([real_images[:2], real_images[:2]], ["a", "b"])


def test_the_order_of_bytes_changes_no_picture(real_images):
    wide = real_images[0].astype(np.uint16) * 257
    drawn = [
        plot_images([i]).axes[0].get_images()[0].get_array() for i in (wide, wide.astype(">u2"))
    ]
    assert np.array_equal(*drawn) and drawn[0].max() <= 1
