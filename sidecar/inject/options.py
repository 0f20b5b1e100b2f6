"""What can be said of an injected sidecar: the one table of flags of `sidecar inject` and annotations of workloads.

    --NAME VALUE   =   sidecar/NAME: VALUE

Nearly every flag of `sidecar run` is here too, read by the same reader, and handed on. `--help`, the table in
docs/kubernetes.md and the reading of annotations all come from here. Knows no manifest.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from sidecar import __version__
from sidecar.nearest import did_you_mean
from sidecar.settings.flags import FLAGS
from sidecar.settings.kinds import choice
from sidecar.settings.knobs import knobs
from sidecar.units import parse_duration

PREFIX: Final = "sidecar/"

# Where what was done is kept, so that it can be undone.
RECORD: Final = PREFIX + "injected"
OPT_OUT: Final = PREFIX + "inject"

NATIVE, CLASSIC = "native", "classic"

# In classic mode nothing holds SIGTERM back until the application has ended, so the sidecar waits by itself: with the
# delay, for the 10 s that an application should sleep and the 25 s that it may take.
CLASSIC_TIMEOUT: Final = "27s"

# A secret does not belong into a manifest; the format of lines is said in the environment, as in the chart.
NOT_HERE: Final = frozenset({"admin.token", "log.format"})

# Where a pod differs from a laptop, the same as in the chart: in native mode the application has ended before the drain
# timeout begins; an ingress controller is a pod or a node, and what it says of the client must survive.
_IN_POD: Final = {
    "listen": ":8900",
    "admin.listen": ":8901",
    "drain.delay": "8s",
    "drain.timeout": "5s",
    "forwarding.trusted_proxies": "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,fc00::/7",
}

_MORE: Final = {
    "upstream": "Without it, the first containerPort of the pod.",
    "drain.timeout": f"In {CLASSIC} mode {CLASSIC_TIMEOUT} by default.",
}

# Annotations with our prefix that the chart writes for itself.
_CHART: Final = frozenset({PREFIX + "needs-restart"})


class Option(NamedTuple):
    """One row: `read` raises `ValueError` ("what is wrong; what to write instead").

    `knob` is the path of the setting that it is handed on as; `pods_own` says that the default is not the setting's.
    """

    name: str
    metavar: str
    default: str
    meaning: str
    read: Callable[[str], object]
    knob: str = ""
    pods_own: bool = False

    @property
    def flag(self) -> str:
        """As it is written on the command line."""
        return f"--{self.name}"

    @property
    def annotation(self) -> str:
        """As it is written in a manifest."""
        return PREFIX + self.name


class Chosen:
    """Values by name: an annotation of the workload's, else a flag, else the default."""

    def __init__(self, flags: Mapping[str, str], annotations: Mapping[str, str]) -> None:
        self._given = {**flags, **annotations}

    def __getitem__(self, name: str) -> str:
        given = self._given.get(name)
        if not given and name == "drain-timeout" and self["mode"] == CLASSIC:
            return CLASSIC_TIMEOUT
        return given or OPTIONS[name].default

    def given(self, name: str) -> bool:
        """Whether somebody has said it."""
        return name in self._given

    def seconds(self, name: str) -> float:
        """A duration."""
        return parse_duration(self[name])


def from_annotations(annotations: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The options that these annotations say, and what is wrong with them."""
    values, wrong = {}, []
    for key, value in annotations.items():
        name = key.removeprefix(PREFIX)
        if key in (RECORD, OPT_OUT) or key in _CHART or name == key:
            continue
        try:
            values[name] = checked(name, value)
        except KeyError:
            hint = did_you_mean(name, OPTIONS, "see sidecar inject --help", prefix=PREFIX)
            wrong.append(f"annotation {key} is not known; {hint}")
        except ValueError as error:
            wrong.append(f"annotation {key}: {value} {error}")
    return values, wrong


def opted_out(annotations: Mapping[str, str]) -> bool:
    """Whether the workload wants no sidecar. Raises `ValueError`."""
    said = annotations.get(OPT_OUT, "true")
    if said not in ("true", "false"):
        raise ValueError(f'annotation {OPT_OUT}: {said} is neither true nor false; write "true" or "false"')
    return said == "false"


def checked(name: str, value: str) -> str:
    """The value, if it is a good one. Raises `ValueError`, and `KeyError` where there is no such option."""
    OPTIONS[name].read(value)
    return value


def _matching(pattern: str, wrong: str) -> Callable[[str], object]:
    def read(text: str) -> object:
        if not re.fullmatch(pattern, text):
            raise ValueError(wrong)
        return text

    return read


def _own() -> list[Option]:
    image = _matching("[a-zA-Z0-9][a-zA-Z0-9._/:@-]*", "is not an image; write it like registry.example.com/sidecar:1")
    name = _matching("[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", "is not a name; write it like sidecar-config")
    cpu = _matching("[0-9]+m?|[0-9]+[.][0-9]+", "is not an amount of processors; write it like 100m or 0.5")
    memory = _matching("[0-9]+(Ki|Mi|Gi|k|M|G)?", "is not an amount of memory; write it like 96Mi")
    mode, pull = choice(NATIVE, CLASSIC), choice("Always", "IfNotPresent", "Never")
    return [
        Option("image", "IMAGE", f"sidecar:{__version__}", "The sidecar's image.", image),
        Option("pull-policy", pull.name, "", "Its imagePullPolicy; empty = the cluster's default.", pull.read),
        Option("mode", mode.name, NATIVE, "native needs Kubernetes 1.29; classic = an ordinary container.", mode.read),
        Option("config-map", "NAME", "", "ConfigMap with sidecar.yaml, mounted at /etc/sidecar.", name),
        Option(
            "app-drain", "DURATION", "25s", "The application takes this long at most to end on SIGTERM.", parse_duration
        ),
        Option("cpu", "AMOUNT", "100m", "Processor time to request; there is no limit.", cpu),
        Option("memory", "AMOUNT", "96Mi", "Memory to request.", memory),
        Option("memory-limit", "AMOUNT", "256Mi", "Memory it may have.", memory),
    ]


def _handed_on() -> list[Option]:
    found: list[Option] = []
    for path, flag in FLAGS.items():
        if path in NOT_HERE:
            continue
        knob = knobs()[path]
        default = _IN_POD.get(path) or ("" if knob.default is None else knob.show(knob.default))
        meaning = f"{knob.meaning} {_MORE.get(path, '')}".rstrip()
        metavar = knob.kind.name if "|" in knob.kind.name else knob.kind.name.upper()
        found.append(Option(flag.removeprefix("--"), metavar, default, meaning, knob.read, path, path in _IN_POD))
    return found


OPTIONS: Final = {option.name: option for option in [*_own(), *_handed_on()]}
