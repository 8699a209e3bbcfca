"""OME-Zarr folders of versions 0.1 to 0.5, written chunk by chunk from the specification."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autounet.data.io import FileError, read_image
from autounet.errors import RequestError

zarr = pytest.importorskip("zarr")

VOLUME = np.arange(2 * 4 * 5 * 6, dtype="<u2").reshape(2, 4, 5, 6)
AXES = [
    {"name": "c", "type": "channel"},
    *({"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"),
]


def multiscales(axes: list[Any] | None, scale: list[float], **more: Any) -> dict[str, Any]:
    image: dict[str, Any] = {"datasets": [{"path": "0"}, {"path": "1"}]}
    if scale:
        image["datasets"][0]["coordinateTransformations"] = [{"type": "scale", "scale": scale}]
    if axes is not None:
        image["axes"] = axes
    return {"multiscales": [image | more]}


def write_v2(path: Path, array: np.ndarray, attributes: dict[str, Any]) -> Path:
    """One uncompressed chunk of zarr format 2, with `.zattrs` of NGFF 0.4."""
    (path / "0").mkdir(parents=True)
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    (path / ".zattrs").write_text(json.dumps(attributes))
    header = {
        "zarr_format": 2,
        "shape": array.shape,
        "chunks": array.shape,
        "dtype": array.dtype.str,
        "compressor": None,
        "fill_value": 0,
        "order": "C",
        "filters": None,
        "dimension_separator": ".",
    }
    (path / "0" / ".zarray").write_text(json.dumps(header))
    (path / "0" / ".".join("0" * array.ndim)).write_bytes(array.tobytes())
    return path


def test_finest_level_with_units(tmp_path: Path) -> None:
    path = write_v2(tmp_path / "case_0000.ome.zarr", VOLUME, multiscales(AXES, [1, 2, 0.5, 0.25]))
    image = read_image([path])
    np.testing.assert_array_equal(image.array, VOLUME)
    np.testing.assert_allclose(image.geometry.spacing_mm, (2e-3, 5e-4, 2.5e-4))
    assert image.geometry.tells_spacing
    assert image.geometry.num_spatial_dims == 3


def test_transformations_are_applied_in_order(tmp_path: Path) -> None:
    attributes = multiscales(AXES, [1, 2, 2, 2], coordinateTransformations=[{"type": "scale", "scale": [1, 1, 3, 3]}])
    steps = attributes["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    steps.append({"type": "translation", "translation": [0, 10, 20, 30]})
    geometry = read_image([write_v2(tmp_path / "a.ome.zarr", VOLUME, attributes)]).geometry
    np.testing.assert_allclose(geometry.spacing_mm, (2e-3, 6e-3, 6e-3))
    np.testing.assert_allclose(geometry.matrix[:3, 3], (90e-3, 60e-3, 10e-3))


def test_other_orders_of_axes(tmp_path: Path) -> None:
    axes = [{"name": name} for name in "tzcyx"]
    array = VOLUME.swapaxes(0, 1)[None]
    image = read_image([write_v2(tmp_path / "a.ome.zarr", array, multiscales(axes, [1, 1, 1, 1, 1]))])
    np.testing.assert_array_equal(image.array, VOLUME)
    assert not image.geometry.tells_spacing


def test_axes_of_old_versions_are_tczyx(tmp_path: Path) -> None:
    image = read_image([write_v2(tmp_path / "a.ome.zarr", VOLUME[None], multiscales(None, []))])
    np.testing.assert_array_equal(image.array, VOLUME)


def test_2d(tmp_path: Path) -> None:
    image = read_image([write_v2(tmp_path / "a.ome.zarr", VOLUME[0, 0], multiscales(AXES[2:], [2, 2]))])
    np.testing.assert_array_equal(image.array[0, 0], VOLUME[0, 0])
    assert image.geometry.num_spatial_dims == 2


@pytest.mark.skipif(int(zarr.__version__.partition(".")[0]) < 3, reason="format 3 needs zarr 3")
def test_version_05_with_chunks(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    group = zarr.open_group(str(path), mode="w", zarr_format=3)
    group.attrs["ome"] = {"version": "0.5"} | multiscales(AXES, [1, 2, 0.5, 0.25])
    group.create_array("0", data=VOLUME, chunks=(1, 2, 3, 3))
    image = read_image([path])
    np.testing.assert_array_equal(image.array, VOLUME)
    np.testing.assert_allclose(image.geometry.spacing_mm, (2e-3, 5e-4, 2.5e-4))


def test_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty.ome.zarr").mkdir()
    with pytest.raises(FileError, match="no OME-Zarr image"):
        read_image([tmp_path / "empty.ome.zarr"])
    with pytest.raises(FileError, match="no 'multiscales'"):
        read_image([write_v2(tmp_path / "plain.ome.zarr", VOLUME, {})])
    with pytest.raises(FileError, match=r"the axes .* do not fit"):
        read_image([write_v2(tmp_path / "axes.ome.zarr", VOLUME, multiscales(AXES[1:], [1, 1, 1]))])
    with pytest.raises(FileError, match="2 moments in time"):
        axes = [{"name": name} for name in "tzyx"]
        read_image([write_v2(tmp_path / "time.ome.zarr", VOLUME, multiscales(axes, [1, 1, 1, 1]))])
    with pytest.raises(FileError, match="no OME-Zarr image"):
        read_image([write_v2(tmp_path / "levels.ome.zarr", VOLUME, {"multiscales": [{"datasets": []}]})])
    (tmp_path / "file.ome.zarr").write_bytes(b"x")
    with pytest.raises(FileError, match="is no folder"):
        read_image([tmp_path / "file.ome.zarr"])


def test_a_header_that_lies(tmp_path: Path) -> None:
    path = write_v2(tmp_path / "a.ome.zarr", VOLUME[0], multiscales(AXES[1:], [1, 1, 1]))
    header = json.loads((path / "0" / ".zarray").read_text())
    (path / "0" / ".zarray").write_text(json.dumps(header | {"shape": [10**6, 2048, 2048]}))
    with pytest.raises(FileError, match="cut short"):
        read_image([path])


def test_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(RequestError, match=r"pip install 'autounet\[zarr\]'"):
        read_image([write_v2(tmp_path / "a.ome.zarr", VOLUME, {})])
