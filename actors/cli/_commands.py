"""
The commands themselves: what click parses, which system is run, which exit code comes out. The only import of click.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import click

from actors import ActorSystem, Supervisor
from actors._system import StartMethod
from actors.cli import _parameters, _render, _topology
from actors.errors import ActorsError, SpecError

__all__ = ["run_command"]

FAILED, USAGE, INTERRUPTED = 1, 2, 130

TARGET = click.argument("target", metavar="MODULE_OR_PATH[:NAME]")
REST = click.argument("rest", metavar="[ARGS]...", nargs=-1, type=click.UNPROCESSED)
# What stands behind the topology is the topology's, its options and --help too.
FORWARDING = {"ignore_unknown_options": True, "allow_interspersed_args": False}


def run_command(arguments: Sequence[str]) -> int:
    """Run the command line *arguments*; returns the exit code, and prints every expected error as one sentence."""
    try:
        code = commands.main(args=list(arguments), prog_name="actors", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except _topology.TopologyImportError as error:
        _print_users_part(error.__cause__)
        return _complain(error, USAGE)
    except SpecError as error:
        return _complain(error, USAGE)
    except ActorsError as error:
        return _complain(error, FAILED)
    return code if isinstance(code, int) else 0


def _complain(error: ActorsError, code: int) -> int:
    problems = error.problems if isinstance(error, SpecError) and error.problems else (str(error),)
    for problem in problems:
        print(f"actors: {problem}", file=sys.stderr)
    for note in getattr(error, "__notes__", ()):
        print(note, file=sys.stderr)
    return code


def _print_users_part(error: BaseException | None) -> None:
    """Print the traceback of *error* from the first line of the user's on: not how we came to import it."""
    if error is None:
        return
    step = error.__traceback__
    ours = {_topology.__file__, importlib.__file__}
    while (
        step is not None and (file := step.tb_frame.f_code.co_filename) and (file in ours or file.startswith("<frozen"))
    ):
        step = step.tb_next
    traceback.print_exception(error.with_traceback(step))


def _version() -> str:
    try:
        return metadata.version("actors")
    except metadata.PackageNotFoundError:  # run from its source, not installed
        return "unknown"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(_version(), prog_name="actors")
def commands() -> None:
    """Run and look at trees of supervised process actors."""


@commands.command(context_settings=FORWARDING)
@click.option(
    "--start-method",
    type=click.Choice(["forkserver", "spawn", "fork"]),
    default="forkserver",
    show_default=True,
    help="How processes are started.",
)
@TARGET
@REST
def run(target: str, rest: tuple[str, ...], start_method: StartMethod) -> int:
    """
    Run the tree of a topology module.

    With a main(system, ...) in the module it runs until main returns, else until SIGINT or SIGTERM.
    ARGS are the topology's own: actors run MODULE_OR_PATH --help lists them.
    """
    topology = _topology.load(target)
    values = _parse(topology, f"actors run {target}", rest)
    if values is None:
        return 0
    with ActorSystem(topology.build(values), start_method=start_method) as system:
        return topology.drive(system, values)


@commands.command(context_settings=FORWARDING)
@TARGET
@REST
def tree(target: str, rest: tuple[str, ...]) -> int:
    """Print the tree of a topology module without starting anything."""
    topology = _topology.load(target)
    values = _parse(topology, f"actors tree {target}", rest)
    if values is not None:
        spec = topology.build(values)
        ActorSystem(spec)  # the constructor only checks
        for line in _render.lines(spec):
            click.echo(line)
    return 0


def _parse(topology: _topology.Topology, program: str, rest: Sequence[str]) -> dict[str, Any] | None:
    """Fill the topology's parameters from *rest*; None when it only asked for help."""
    functions = (topology.main, None if isinstance(topology.tree, Supervisor) else topology.tree)
    parser = click.Command(
        program,
        params=[_click_parameter(parameter) for parameter in topology.parameters()],
        callback=lambda **values: values,
        help=next(filter(None, map(_parameters.help_text, functions)), None),
        context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    )
    # click returns 0 instead of the callback's value where it has printed the help.
    values = parser.main(args=list(rest), prog_name=program, standalone_mode=False)
    return values if isinstance(values, dict) else None


def _click_parameter(parameter: _parameters.Parameter) -> click.Parameter:
    kind = click.Choice(parameter.choices) if parameter.choices else parameter.type
    required = parameter.default is _parameters.REQUIRED
    default = {} if required else {"default": parameter.default}
    if parameter.is_many:
        return click.Argument([parameter.name], nargs=-1, type=kind)
    if not parameter.is_option:
        return click.Argument([parameter.name], type=kind, required=required, **default)
    flag = f"--{parameter.name.replace('_', '-')}"
    if parameter.type is bool:
        names = f"{flag}/--no-{flag[2:]}" if parameter.default is not False else flag
        return click.Option([names, parameter.name], is_flag=True, required=required, help=parameter.help, **default)
    return click.Option([flag, parameter.name], type=kind, required=required, help=parameter.help, **default)
