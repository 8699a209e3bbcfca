"""Models in one file: what comes out is what went in, and a file that is anything else leaves nothing behind."""

from __future__ import annotations

import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from autounet.errors import RequestError
from autounet.models.archive import pack_model, unpack_model
from autounet.models.folder import PREVIOUS_STAGE, ModelRecord, previous_stage_folder, trained_folds
from autounet.models.integrity import write_checksums


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_unpacking_gives_what_was_packed(model: Path, tmp_path: Path) -> None:
    (model / PREVIOUS_STAGE).mkdir()
    (model / "fold_0").rename(model / PREVIOUS_STAGE / "fold_0")
    archive = tmp_path / "there" / "model.zip"
    assert pack_model(model, archive) == archive.stat().st_size
    folds = unpack_model(archive, tmp_path / "again")
    assert [str(fold.relative_to(tmp_path / "again")) for fold in folds] == ["fold_all", f"{PREVIOUS_STAGE}/fold_0"]
    assert contents(tmp_path / "again") == contents(model)
    assert len(contents(model)) == 8


def second_stage_of(model: Path, first: str) -> None:
    """Make every fold the second stage of a cascade whose first lies beside it."""
    for path in model.glob("fold_*/model.json"):
        record = ModelRecord.read(path)
        cascade = record.configuration.model_copy(update={"previous_stage": "3d_lowres"})
        record.model_copy(update={"configuration": cascade, "previous_model": first}).write(path)
        write_checksums(path.parent)


def test_a_first_stage_that_lies_beside_goes_along(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, model.parent / "first")
    second_stage_of(model, "first")
    archive = tmp_path / "model.zip"
    pack_model(model, archive)
    again = tmp_path / "elsewhere" / "again"
    assert len(unpack_model(archive, again)) == 4
    assert previous_stage_folder(again, trained_folds(again)["0"]) == again / PREVIOUS_STAGE
    assert contents(again / PREVIOUS_STAGE) == contents(model.parent / "first")
    assert {name for name in contents(again) if not name.startswith(PREVIOUS_STAGE)} == set(contents(model))
    # What was unpacked can be handed on once more.
    pack_model(again, tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()


def test_a_second_stage_without_its_first_is_not_packed(model: Path, tmp_path: Path) -> None:
    second_stage_of(model, "first")
    with pytest.raises(RequestError, match=r"its first stage .*first is not there"):
        pack_model(model, tmp_path / "model.zip")
    (model.parent / "first").mkdir()
    with pytest.raises(RequestError, match="first holds no trained fold"):
        pack_model(model, tmp_path / "model.zip")
    assert not (tmp_path / "model.zip").exists()


def test_only_what_belongs_to_a_model_is_packed(model: Path, tmp_path: Path) -> None:
    (model / "fold_0" / "patient_names.csv").write_text("secret")
    pack_model(model, tmp_path / "model.zip")
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        assert not [name for name in archive.namelist() if "patient" in name]


def test_the_same_model_gives_the_same_file(model: Path, tmp_path: Path) -> None:
    pack_model(model, tmp_path / "a.zip")
    pack_model(model, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_broken_model_is_not_packed(model: Path, tmp_path: Path) -> None:
    (model / "fold_0" / "weights.safetensors").unlink()
    with pytest.raises(RequestError, match=r"weights\.safetensors is missing"):
        pack_model(model, tmp_path / "model.zip")
    with pytest.raises(RequestError, match=r"holds no trained fold.*there is no such folder"):
        pack_model(tmp_path / "nowhere", tmp_path / "model.zip")
    assert not list(tmp_path.glob("*.zip"))


def add(name: str, content: bytes = b"x", mode: int = 0o100644) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = mode << 16
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(entry, content)

    return change


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("fold_7/weights.safetensors", bytes(3 * 2**20))


def lie(path: Path) -> None:
    """A file of which the directory tells a smaller size than it unpacks to."""
    bomb(path)
    content = bytearray(path.read_bytes())
    claimed = (3 * 2**20).to_bytes(4, "little")
    place = content.rfind(claimed)
    content[place : place + 4] = (100).to_bytes(4, "little")
    path.write_bytes(content)


def without_record(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        kept = {name: archive.read(name) for name in archive.namelist() if name != "fold_0/model.json"}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in kept.items():
            archive.writestr(name, content)


def tampered(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    kept["fold_0/weights.safetensors"] = kept["fold_all/weights.safetensors"]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in kept.items():
            archive.writestr(name, content)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def torn(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[2000] ^= 255
    path.write_bytes(content)


ATTACKS: dict[str, tuple[Callable[[Path], None], str]] = {
    "out of the folder": (add("../fold_0/model.json"), "no file of a model folder"),
    "absolute": (add("/etc/fold_0/model.json"), "no file of a model folder"),
    "backslashes": (add("..\\fold_0\\model.json"), "no file of a model folder"),
    "other name": (add("fold_0/run.py"), "no file of a model folder"),
    "pickle": (add("fold_0/weights.pth"), "no file of a model folder"),
    "link": (add("fold_3/model.json", b"/etc/passwd", stat.S_IFLNK | 0o777), "no file of a model folder"),
    "folder": (add("fold_3/", b"", stat.S_IFDIR | 0o755), "no file of a model folder"),
    "too large": (bomb, "more than the .* GiB allowed.*--max-gib"),
    "a lie": (lie, "larger than the archive says|damaged|lacks a file"),
    "incomplete": (without_record, "lacks a file"),
    "tampered": (tampered, "has .* bytes|was changed"),
    "truncated": (truncated, "damaged or no zip file"),
    "torn": (torn, "damaged or no zip file"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_appears_of_a_file_that_is_not_right(attack: str, model: Path, tmp_path: Path) -> None:
    archive, target = tmp_path / "model.zip", tmp_path / "target"
    pack_model(model, archive)
    change, said = ATTACKS[attack]
    change(archive)
    before = set(tmp_path.iterdir())
    with pytest.raises(RequestError, match=said):
        unpack_model(archive, target, max_gib=2 / 1024)
    assert set(tmp_path.iterdir()) == before
    assert not target.exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_comes_twice_is_refused(model: Path, tmp_path: Path) -> None:
    pack_model(model, tmp_path / "model.zip")
    add("fold_0/model.json")(tmp_path / "model.zip")
    with pytest.raises(RequestError, match=r"holds fold_0/model\.json twice"):
        unpack_model(tmp_path / "model.zip", tmp_path / "target")


def test_what_is_there_is_not_overwritten(model: Path, tmp_path: Path) -> None:
    pack_model(model, tmp_path / "model.zip")
    before = contents(model)
    with pytest.raises(RequestError, match="is there already"):
        unpack_model(tmp_path / "model.zip", model)
    assert contents(model) == before
    with pytest.raises(RequestError, match="does not exist"):
        unpack_model(tmp_path / "other.zip", tmp_path / "target")
