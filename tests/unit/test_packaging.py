"""What is shipped, what it imports, and which rules the whole tree keeps."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

import autounet

ENVIRONMENT_READERS = {"environ", "environb", "getenv", "getenvb", "expandvars", "expanduser", "home"}
# The format of dataset.json allows variables inside the paths that it lists.
MAY_READ_ENVIRONMENT = {
    "autounet/cli/common.py": None,
    "autounet/cli/training.py": None,
    "autounet/data/dataset.py": {"expandvars"},
}


def python(*arguments: str, folder: Path) -> str:
    """Run this interpreter in a folder and return what it printed."""
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, as the build backend makes it."""
    pytest.importorskip("hatchling")
    out = tmp_path_factory.mktemp("dist")
    python("-m", "hatchling", "build", "-t", "wheel", "-d", str(out), folder=repository)
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_takes_one_name_only(wheel: Path) -> None:
    names = {PurePosixPath(name).parts[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert names == {"autounet", f"autounet-{autounet.__version__}.dist-info"}


def test_the_wheel_holds_every_module_and_nothing_else(wheel: Path, repository: Path) -> None:
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("autounet/")}
    assert {"autounet/planners/nnunet.py", "autounet/preprocessing/case.py", "autounet/cli/app.py"} <= shipped
    assert {name for name in shipped if name.endswith(".py")} == set(modules(repository))
    assert not [name for name in shipped if "__pycache__" in name or "/tests/" in name]


def test_the_wheel_works_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    program = "import autounet.planners, autounet.preprocessing.case as case; print(case.__file__)"
    assert python("-c", program, folder=tmp_path).startswith(str(tmp_path))


def test_foreign_modules_in_the_working_folder_do_no_harm(tmp_path: Path) -> None:
    for name in ("preprocessing", "planners"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('the foreign {name} was imported')\n")
    assert autounet.__version__ in python("-m", "autounet", "--version", folder=tmp_path)
    python("-c", "import autounet.planners, autounet.preprocessing.dataset", folder=tmp_path)


def test_help_waits_for_no_heavy_package(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom autounet.cli import main\nsys.argv = ['autounet', '--help']\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    assert not ended.code, ended.code\n"
        "print('loaded:', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    loaded = set(python("-c", program, folder=tmp_path).splitlines()[-1].split())
    assert "typer" in loaded
    assert not loaded & {"torch", "pandas", "matplotlib", "SimpleITK", "scipy", "nibabel", "batchgenerators", "blosc2"}


def test_names_of_plugins_are_listed_without_torch(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom autounet.networks import NETWORKS\nfrom autounet.losses import LOSSES\n"
        "print(*NETWORKS, *LOSSES)\nprint('torch' in sys.modules)"
    )
    assert python("-c", program, folder=tmp_path).splitlines()[-1] == "False"


def test_only_the_command_line_reads_the_environment(repository: Path) -> None:
    found: dict[str, set[str]] = {}
    for name, file in modules(repository).items():
        used = ENVIRONMENT_READERS & set(words(ast.parse(file.read_text(encoding="utf-8"))))
        if used:
            found[name] = used
    allowed = {name: found.get(name) if words is None else words for name, words in MAY_READ_ENVIRONMENT.items()}
    assert found == allowed


def test_nothing_on_disk_is_a_pickle(repository: Path) -> None:
    for name, file in modules(repository).items():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert not {"pickle", "joblib", "dill"} & (imported | set(words(tree))), name


def test_imports_keep_to_the_layers(repository: Path) -> None:
    if importlib.util.find_spec("importlinter") is None:
        pytest.skip("needs import-linter")
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    assert "0 broken" in python("-c", program, "--no-cache", folder=repository)


def modules(repository: Path) -> dict[str, Path]:
    """Every module of the package by its path in the wheel; the two linked folders are looked through too."""
    folders = {"autounet": repository / "autounet"}
    folders |= {f"autounet/{name}": repository / name for name in ("planners", "preprocessing")}
    return {
        f"{prefix}/{file.relative_to(folder).as_posix()}": file
        for prefix, folder in folders.items()
        for file in folder.rglob("*.py")
        if not (prefix == "autounet" and file.relative_to(folder).parts[0] in ("planners", "preprocessing"))
    }


def words(tree: ast.AST) -> Iterator[str]:
    """Names of all attributes and imports of a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)
