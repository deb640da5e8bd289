"""The command line. A command is a module here with a click command named `command`, and a line in COMMANDS.

A module is imported when its command is asked for: `--help` and `status` should not wait for an HTTP library.
"""

from __future__ import annotations

import ast
import difflib
import gc
import importlib
import io
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from batchjob import __version__
from batchjob.cli import process
from batchjob.errors import BatchjobError
from batchjob.printable import printable, without_passwords

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS = {
    "start": "Ingest INPUT and label it; the same command again resumes.",
    "resume": "Continue the unfinished rows of a job.",
    "retry": "Put failed rows back and run only those.",
    "work": "Help with a job, from one more process or machine.",
    "stop": "Stop a job for all who work on it.",
    "status": "Progress, from any process at any time.",
    "view": "The same and every row on a local page, in a browser.",
    "errors": "Failed and unconfirmed rows by kind, and what to do.",
    "correct": "Say what the label of a row is; the job's own is kept.",
    "export": "Labels in input order, to a file or stdout.",
    "try": "A few rows first: the prompt, the labels, what all would take.",
    "score": "How good the labels are, beside those of a person.",
    "compare": "Two jobs beside each other: agreement, cost, settings.",
    "report": "One file to hand over: labels, accuracy, errors, cost.",
    "jobs": "The jobs in this database.",
    "move": "A job with all that was paid for, to PostgreSQL.",
    "remove": "Forget a job with its texts.",
    "profile": "Before paying: duplicates, lengths, tokens, cost, settings.",
    "cache": "The labels remembered: stats, clear, prune.",
    "init": "Write a commented job.toml.",
    "example": "Where the example lies, and what to type to try it.",
    "sandbox": "A local endpoint to try things on, with a billing ledger.",
    "doctor": "Python, SQLite, disk, endpoint: what is fine and what is not.",
}

MODULES = {"try": "trial"}
"""Command -> its module, where that cannot have its name: it is a word of Python."""


class _Commands(click.Group):
    """The commands of COMMANDS, each imported when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"batchjob.cli.{MODULES.get(cmd_name, cmd_name)}")
        command: click.Command = module.command
        if sys.flags.optimize > 1:
            _restore_help(command, Path(module.__file__ or ""))
        return completion.offer_values(command) if (completion := _completion()) else command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            begun = [command for command in COMMANDS if command.startswith(name)]
            near = begun or difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
            hint = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(COMMANDS)}."
            ctx.fail(f"There is no command {name!r}. {hint}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands, without an import of each; or the options."""
        from click.shell_completion import CompletionItem

        found = [CompletionItem(name, help=said) for name, said in COMMANDS.items() if name.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _restore_help(command: click.Command, source: Path) -> None:
    """Give a command the help that Python dropped with the docstrings (PYTHONOPTIMIZE=2)."""
    # Not ast.parse: from Python 3.14 on, that drops them too.
    tree = compile(source.read_text("utf-8"), source.name, "exec", ast.PyCF_ONLY_AST, dont_inherit=True, optimize=0)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    said = {function.name: ast.get_docstring(function) for function in functions}
    for each in (command, *getattr(command, "commands", {}).values()):
        each.help = said.get(each.callback.__name__ if each.callback else "")


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Label a big file through an OpenAI-compatible endpoint: resumable, and never paid twice.",
)
@click.version_option(__version__, prog_name="batchjob")
def group() -> None:
    """All commands. Its help is no docstring, for those can be dropped."""


def _completion() -> ModuleType | None:
    """The module that answers a shell, where a shell asks."""
    return importlib.import_module("batchjob.cli.completion") if "_BATCHJOB_COMPLETE" in os.environ else None


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code; a known error is one sentence on stderr."""
    if sys.platform == "win32":
        sys.exit("batchjob: Windows is not supported; WSL is (wsl --install): there batchjob runs as on Linux")
    process.collect_seldom()
    process.open_streams()
    process.end_on_signals()
    code = _run(arguments)
    process.give_up_unwritable()
    gc.freeze()  # Python would look through all objects once more, though their memory goes with the process
    sys.exit(code)


def _run(arguments: list[str] | None) -> int:
    try:
        if completion := _completion():
            return int(completion.complete(group))
        # Not click's own main: that ends the process itself on a closed pipe.
        with group.make_context("batchjob", sys.argv[1:] if arguments is None else list(arguments)) as context:
            try:
                result: Any = group.invoke(context)
            except BatchjobError as error:
                return _end_known(error, context)
        sys.stdout.flush()
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.ClickException as error:
        told = io.StringIO()
        error.show(told)
        click.echo(without_passwords(told.getvalue()), err=True, nl=False)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _say("batchjob: interrupted")
        return 130
    except BrokenPipeError:
        process.give_up_stdout()  # whoever read it has seen enough
        return 0
    except Exception as error:
        if os.environ.get("BATCHJOB_DEBUG"):
            raise
        if process.is_of_full_stdout(error):
            process.give_up_stdout()
        if trouble := process.trouble_of(error):
            _say(f"batchjob: {trouble}")
            return 1
        if type(error).__module__ == "msgspec" or isinstance(
            error, RecursionError
        ):  # all else that it reads is checked
            _say(f"batchjob: the database holds what batchjob did not write ({error}). Restore a backup of it")
            return 1
        _say(f"batchjob: defect: {type(error).__name__}: {error}. Please report it; BATCHJOB_DEBUG=1 shows where")
        return 1
    return result if isinstance(result, int) else 0


def _end_known(error: BatchjobError, context: click.Context) -> int:
    _say(f"batchjob: {error}")
    if error.then:
        from batchjob.cli.options import DB_FLAG
        from batchjob.views.next_steps import after_error

        _say(f"next      {after_error(error.then, context.meta.get(DB_FLAG, ''))}")
    return error.exit_code


def _say(text: str) -> None:
    click.echo(printable(without_passwords(text)), err=True)
