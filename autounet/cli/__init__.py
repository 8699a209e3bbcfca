"""The command line: parses, calls the pipeline, prints. Only here are arguments and the environment read."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

# Importing a module of verbs adds them, in this order.
# isort: off
from autounet.cli import planning, previewing, training, choosing, prediction, sampling  # noqa: F401
from autounet.cli import evaluation, reviewing, models  # noqa: F401

# isort: on
from autounet.cli.app import app
from autounet.cli.arguments import spread
from autounet.cli.datasets import dataset_app
from autounet.errors import AutounetError, DataError

app.add_typer(dataset_app)
app.add_typer(models.model_app)


def main() -> NoReturn:
    """Run the command line and exit: 0 done, 1 failed while working, 2 the request or the data is wrong."""
    # Taken at any place: whoever meets an error adds it at the end of the line.
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    try:
        app(spread(arguments))
    except DataError as error:
        if debug:
            raise
        from autounet.console import problems_table

        _error_console().print(problems_table(error))
        sys.exit(error.exit_code)
    except AutounetError as error:
        _fail(str(error), error.exit_code, debug)
    except KeyboardInterrupt:
        _fail("interrupted. A training run goes on with --resume.", 130, debug)
    except OSError as error:
        _fail(f"{error.strerror or error}: {error.filename or ''}", 1, debug)
    except Exception as error:
        _fail(f"{type(error).__name__}: {error}. This should not happen; --debug shows where it did.", 1, debug)
    sys.exit(0)


def _fail(message: str, code: int, debug: bool) -> NoReturn:
    if debug:
        raise
    _error_console().print(f"error: {message}", markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)


def _error_console() -> Any:
    from rich.console import Console

    return Console(stderr=True)
