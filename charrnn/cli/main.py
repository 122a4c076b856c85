"""The entry point of the command line: parses the arguments, runs the command, maps every outcome to an exit status.

Statuses: 0 done, 1 bad data, file or checkpoint, failed write, 2 usage, 3 training diverged; after SIGINT, SIGTERM or
SIGHUP the process dies of that signal. A command's module is imported when the command runs, so that help stays fast.
"""

from __future__ import annotations

import gc
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from charrnn.cli import streams
from charrnn.cli.commands import COMMANDS, load_command
from charrnn.cli.parsers import nearest
from charrnn.cli.signals import catch_signals, die_of
from charrnn.cli.visible import visible
from charrnn.errors import CharrnnError, UsageError

COMPLETION = ("--install-completion", "--show-completion")
COMPLETED_SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")

# The parser's own exceptions. Only some have a public name; what they have in common is found from one that does.
ParserUsageError: Any = typer.BadParameter.__bases__[0]
ParserError: Any = ParserUsageError.__bases__[0]


class Group(typer.core.TyperGroup):
    """The top-level command; its flags cost no time when they are not given."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters, with --help and the like False: typer checks None with pydantic, which is slow to import."""
        parameters = super().get_params(ctx)
        for parameter in parameters:
            if not parameter.expose_value and parameter.default is None:
                parameter.default = False
        return parameters

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Parse `args`, after checking what typer does not: completion is for the shell it is run from."""
        if args and args[0] in COMPLETION:
            if len(args) > 1:
                raise UsageError(f"{args[0]} takes nothing after it; it is for the shell in which it is typed")
            if (shell := _shell()) not in COMPLETED_SHELLS:
                raise CharrnnError(
                    f"{args[0]} is for {', '.join(COMPLETED_SHELLS)}, and it was run from {shell or 'no shell'}; type "
                    "it at the prompt of one of these"
                )
        return super().parse_args(ctx, args)


class LazyCommand(typer.core.TyperCommand):
    """A name and one line of help; the command itself is imported when its arguments are parsed."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Load the command and parse `args` with it."""
        return load_command(str(self.name)).make_context(info_name, args, parent=parent, **extra)


def _shell() -> str | None:
    """The shell that this process was started from."""
    import shellingham

    try:
        return str(shellingham.detect_shell()[0])
    except shellingham.ShellDetectionFailure:
        return None


def _show_version(wanted: bool) -> None:
    if wanted:
        from charrnn.cli.versions import version_lines

        typer.echo("\n".join(version_lines()))
        raise typer.Exit


def _global_options(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Show the versions and leave."),
    ] = False,
) -> None:
    pass


def build_app() -> Any:
    """The top-level command with its commands, none of them imported yet."""
    app = typer.Typer(
        name="charrnn",
        cls=Group,
        help="Recurrent language models: learn from a text file, write text like it, score text.",
        epilog="Start with: charrnn train corpus.txt   then: charrnn sample",
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_global_options)
    for name, text in COMMANDS.items():
        app.command(name, cls=LazyCommand, help=text)(lambda: None)
    return typer.main.get_command(app)


def _one_line(error: Any, args: Sequence[str]) -> str:
    """The message for an exception of the parser."""
    context = getattr(error, "ctx", None)
    parameter = getattr(error, "param", None)
    message = str(error.format_message()).rstrip(".")
    unknown = getattr(error, "option_name", None)
    if unknown and hasattr(error, "possibilities"):
        known = [name for known in context.command.get_params(context) for name in known.opts] if context else []
        # `-epochs` is read as the short options -e -p …: the word as it was typed says more.
        typed = next((arg for arg in args if len(unknown) == 2 and arg.startswith(unknown)), unknown)
        wanted = typed if typed.startswith("--") else f"-{typed}" if len(typed) > 2 else typed
        message = f"no such option {typed}{nearest(wanted.split('=')[0], known)}"
    elif unknown:  # with a value that it does not take, or without the one it needs
        message = message.replace(f"Option {unknown!r}", unknown)
    elif parameter is not None and error.message:
        long_names = [name for name in parameter.opts if name.startswith("--")]
        message = f"{(long_names or [parameter.metavar or parameter.name])[0]}: {error.message}"
        source = context.get_parameter_source(parameter.name) if context is not None else None
        if context is not None and source is not None and source.name == "DEFAULT_MAP":
            message = f"{context.params['config']}: {message}"
    elif message == "Missing command":
        message = f"no command given; it must be one of {', '.join(COMMANDS)}"
    elif message.startswith("No such command"):
        word = next((arg for arg in args if not arg.startswith("-")), "")
        message = f"no such command {word}{nearest(word, COMMANDS)}"
    elif message.startswith("Got unexpected extra argument"):
        message = f"too many arguments: {message.partition('(s) ')[2].strip('()')}"
        if context is not None and context.info_name == "sample":
            message += "; a prompt is --prompt TEXT, a checkpoint -c FILE"
    path = context.command_path if context is not None else "charrnn"
    return f"{message} ({path} --help lists what there is)"


def _run(args: Sequence[str]) -> int:
    """Run the command line `args`; the exit status."""
    try:
        result = build_app().main(args=list(args), prog_name="charrnn", standalone_mode=False)
        streams.flush_stdout()
        return result if isinstance(result, int) else 0
    except streams.StdoutClosed:
        return 0
    except CharrnnError as error:
        return _fail(str(error), error.exit_status)
    except ParserError as error:
        if not args and getattr(error, "ctx", None) is not None:
            streams.say_lines(error.ctx.get_help())
        return _fail(_one_line(error, args), 2 if isinstance(error, ParserUsageError) else 1)
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):  # `charrnn --help | head -1`
            streams.discard(sys.__stdout__)
            return 0
        return stop.code if isinstance(stop.code, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except MemoryError as error:
        return _fail(f"not enough memory: {error}; a smaller model, --batch-size or --seq-length needs less", 1)
    except OSError as error:
        # The parser writes help and versions itself.
        shown = "cannot write to standard output: " if {"-h", "--help", "--version"}.intersection(args) else ""
        name = f"{error.filename}: " if error.filename else shown
        return _fail(f"{name}{error.strerror or error}", 1)
    except Exception as error:
        return _fail(f"unexpected {type(error).__name__}: {error}; CHARRNN_DEBUG=1 shows where", 1)


def _fail(message: str, status: int) -> int:
    if os.environ.get("CHARRNN_DEBUG", "0") not in ("", "0"):
        print(visible(traceback.format_exc(), keep="\n"), end="", file=sys.stderr)
    with suppress(CharrnnError):
        streams.flush_stdout()
    streams.complain(message)
    return status


def main(args: Sequence[str] | None = None) -> int:
    """Run `charrnn` with `args` (the process's own by default) and return the exit status.

    Does not return after SIGINT, SIGTERM or SIGHUP: when the command has saved, the process dies of the signal.
    """
    # The threads of OpenBLAS are not used here, and would spin while they wait, for long where the cores are busy.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Imports and the compiler make hundreds of thousands of objects that stay: garbage collection among them would take
    # a tenth of a second of every start.
    gc.set_threshold(100_000)
    streams.set_quiet(False)
    streams.set_silent(False)
    given = sys.argv[1:] if args is None else args
    with catch_signals(saves="train" in given[:1]) as signals:
        try:
            status = _run(given)
        except KeyboardInterrupt:  # arrived while an error was being reported
            status = 130
    if signals.received is not None:
        die_of(signals.received)
    return status
