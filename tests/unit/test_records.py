"""Records on disk: refused when wrong, never half written."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError, model_validator

from autounet.errors import RequestError
from autounet.records import Record, atomic_path, nearest, read_json, write_text_atomically


class Wheel(Record):
    radius_mm: float
    num_spokes: int = 36

    @model_validator(mode="after")
    def _round(self) -> Wheel:
        if self.radius_mm <= 0:
            raise ValueError(f"radius_mm must be positive, got {self.radius_mm}")
        return self


class Bicycle(Record):
    name: str
    wheels: tuple[Wheel, ...]


BICYCLE = Bicycle(name="Bayona", wheels=(Wheel(radius_mm=311), Wheel(radius_mm=0.1, num_spokes=32)))


def test_a_record_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "bicycle.json"
    BICYCLE.write(path)
    assert Bicycle.read(path) == BICYCLE
    first = path.read_bytes()
    Bicycle.read(path).write(path)
    assert path.read_bytes() == first


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        BICYCLE.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"name": "a", "wheel": []}, "'wheel' is not a known key. Did you mean 'wheels'?"),
        ({"name": "a", "wheels": [], "zz": 1}, "'zz' is not a known key."),
        (
            {"name": "a", "wheels": [{"radius": 3}]},
            "'wheels.0': 'radius' is not a known key. Did you mean 'radius_mm'?",
        ),
        ({"name": "a"}, "'wheels' is missing"),
        ({"name": "a", "wheels": [{"radius_mm": "big"}]}, "'wheels.0.radius_mm': Input should be a valid number"),
        ({"name": "a", "wheels": [{"radius_mm": "big"}]}, "(got 'big')"),
        ({"name": "a", "wheels": [{"radius_mm": -1}]}, "'wheels.0': radius_mm must be positive, got -1.0"),
        ([1], "(got [1])"),
    ],
)
def test_wrong_content_is_refused_with_its_place_and_value(content: object, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        Bicycle.parse(content, "bicycle.json")
    assert str(caught.value).startswith("bicycle.json is no valid Bicycle: ")
    assert message in str(caught.value)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(RequestError, match=r"'name' is missing; 'wheels\.0\.radius_mm': .*; 'wheels\.1': 'x' is"):
        Bicycle.parse({"wheels": [{"radius_mm": None}, {"x": 1}]}, "bicycle.json")


def test_a_record_of_the_wrong_form_is_refused_when_it_is_built() -> None:
    with pytest.raises(ValidationError, match="Did you mean 'num_spokes'"):
        Wheel.model_validate({"radius_mm": 1, "num_spoke": 3})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"bicycle\.json does not exist"):
        Bicycle.read(tmp_path / "bicycle.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"{", "is not valid JSON: .*line 1"), (b"", "is not valid JSON"), (b'"\xff"', "cannot be read")],
)
def test_a_file_that_is_no_json_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bicycle.json"
    path.write_bytes(content)
    with pytest.raises(RequestError, match=rf"bicycle\.json {message}"):
        read_json(path)


def test_a_folder_is_not_read_as_a_file(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cannot be read"):
        read_json(tmp_path)


def test_the_nearest_name_is_offered_only_if_it_is_near() -> None:
    assert nearest("3d_fulres", ["2d", "3d_fullres"]) == " Did you mean '3d_fullres'?"
    assert nearest("transformer", ["2d", "3d_fullres"]) == ""


def test_a_crash_while_writing_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "scan.nii.gz"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="crash"), atomic_path(path) as partial:
        partial.write_text("half of the n")
        assert path.read_text() == "old"
        raise RuntimeError("crash")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_partial_file_has_the_ending_that_writers_look_at(tmp_path: Path) -> None:
    path = tmp_path / "new" / "scan.nii.gz"
    with atomic_path(path) as partial:
        assert partial.name.endswith(".nii.gz")
        assert partial.name.startswith(".")
        assert partial.parent == path.parent
        partial.write_text("new")
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_text_is_written_as_utf8(tmp_path: Path) -> None:
    write_text_atomically(tmp_path / "a.txt", "Müller\n")
    assert (tmp_path / "a.txt").read_bytes() == b"M\xc3\xbcller\n"
