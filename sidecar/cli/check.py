"""`sidecar check`: are the settings good? Nothing is bound and nobody is called."""

from __future__ import annotations

from sidecar.cli.commands import COMMANDS
from sidecar.cli.parsing import settings_from, settings_parser, source_of
from sidecar.settings.checks import notes
from sidecar.settings.knobs import all_knobs, value_of


def check(argv: list[str]) -> int:
    """Print OK with what was set by whom; or every problem, and exit with 78 (2 if only flags are wrong)."""
    purpose = f"sidecar check: {COMMANDS['check'].purpose}."
    parser = settings_parser("sidecar check", purpose, "sidecar check [-c FILE] [flags]")
    loaded = settings_from(parser, source_of(parser.parse(argv)))
    settings, origin = loaded
    print(f"OK: {settings.listen} -> {settings.upstream}, admin {settings.admin.listen}")
    table = all_knobs(len(settings.routes))
    for path in loaded.given():
        print(f"  {path} = {table[path].show(value_of(settings, path))}  ({origin[path]})")
    print("  everything else is at its default; `sidecar config show` prints it")
    for note in notes(settings, origin):
        print(f"  note: {note}")
    return 0
