import numpy as np
import pytest

from napari_weakseg import samples


@pytest.mark.parametrize("load", [samples.coins, samples.immunohistochemistry, samples.cells_2d, samples.cells_3d])
def test_a_sample_without_network_makes_a_layer(load):
    from napari.layers import Image

    ((pixels, settings, kind),) = load()
    assert kind == "image"
    layer = Image(pixels, **settings)
    assert np.isfinite(pixels).all()
    assert layer.rgb == (load is samples.immunohistochemistry)


@pytest.mark.parametrize("load", [samples.cells3d, samples.human_mitosis, samples.kidney, samples.skin])
def test_a_sample_that_cannot_be_fetched_says_so_and_opens_nothing(load, monkeypatch):
    from skimage import data

    told = []

    def offline():
        raise ConnectionError("no route to host")

    monkeypatch.setattr(data, load.__name__, offline, raising=False)
    monkeypatch.setattr("napari.utils.notifications.show_warning", told.append)
    assert load() == []
    assert "no route to host" in told[0]
    assert "need" in told[0]


@pytest.mark.parametrize("shape", [(96, 120), (16, 64, 64)])
def test_generated_cells_are_the_same_for_a_seed_and_stand_out(shape):
    image, objects = samples.cell_scene(shape, cells=12, seed=3)
    again, _ = samples.cell_scene(shape, cells=12, seed=3)
    np.testing.assert_array_equal(image, again)
    assert image.shape == objects.shape == shape
    assert objects.max() >= 6
    assert image[objects > 0].mean() > 2 * image[objects == 0].mean()
