"""`sidecar config show|schema|template`: the settings as text."""

from __future__ import annotations

from sidecar.cli.commands import COMMANDS
from sidecar.cli.parsing import Parser, settings_from, settings_parser, source_of
from sidecar.settings import reference, schema


def config(argv: list[str]) -> int:
    """Print the settings in force with their origin, the JSON Schema of the file, or a commented template."""
    if argv and argv[0] == "show":
        purpose = "The settings in force, as a file, and where each comes from. Secrets are masked."
        parser = settings_parser("sidecar config show", purpose, "sidecar config show [-c FILE] [flags]")
        print(reference.effective(settings_from(parser, source_of(parser.parse(argv[1:])))), end="")
        return 0
    usage = "sidecar config show|schema|template"
    parser = Parser("sidecar config", f"sidecar config: {COMMANDS['config'].purpose}.", usage)
    parser.add_argument("what", metavar="show|schema|template", help="What to print.")
    what = parser.parse(argv)["what"]
    if what == "schema":
        print(schema.schema(), end="")
    elif what == "template":
        print(reference.template(), end="")
    else:
        parser.error(f"{what} is not known here; write show, schema or template")
    return 0
