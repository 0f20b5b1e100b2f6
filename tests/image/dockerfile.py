"""Reads a Dockerfile, as much of the language as ours uses; anything else is an error, so that nothing is missed."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from string import Template
from typing import Final, NamedTuple

WORDS: Final = frozenset(
    {"ARG", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "RUN", "USER", "WORKDIR"}
)
# Where a shell would be the one to fill in variables.
_AS_WRITTEN: Final = frozenset({"RUN", "ENTRYPOINT", "HEALTHCHECK"})


class Instruction(NamedTuple):
    """One instruction: its word in capitals, and the rest, variables filled in."""

    word: str
    rest: str

    @property
    def words(self) -> list[str]:
        """The rest as words, quotes taken off."""
        return shlex.split(self.rest)

    @property
    def pairs(self) -> dict[str, str]:
        """The rest of ENV, ARG or LABEL: names and values."""
        return dict(word.split("=", 1) for word in self.words)

    @property
    def command(self) -> list[str]:
        """What RUN, ENTRYPOINT or HEALTHCHECK start: the exec form as it is, the shell form as Docker runs it."""
        rest = self.rest.partition("CMD ")[2] if self.word == "HEALTHCHECK" else self.rest
        if rest.startswith("["):
            command: list[str] = json.loads(rest)
            return command
        return ["/bin/sh", "-c", rest]


class Stage(NamedTuple):
    """A stage: its base, its name (empty for the last) and its instructions without FROM."""

    base: str
    name: str
    instructions: list[Instruction]

    def all(self, word: str) -> list[Instruction]:
        """Those with this word."""
        return [instruction for instruction in self.instructions if instruction.word == word]

    def last(self, word: str) -> Instruction:
        """The last of them, which is the one that counts."""
        return self.all(word)[-1]

    def env(self, base: dict[str, str]) -> dict[str, str]:
        """The environment of what runs in it, on that of its base."""
        env = dict(base)
        for instruction in self.all("ENV"):
            env |= {name: Template(value).safe_substitute(env) for name, value in instruction.pairs.items()}
        return env


def read(file: Path) -> list[Stage]:
    """The stages, in order."""
    stages: list[Stage] = []
    arguments: dict[str, str] = {}
    for word, rest in _lines(file.read_text(encoding="utf-8")):
        if word not in WORDS:
            raise ValueError(f"{file.name}: {word} is not among the instructions that the image test knows")
        filled = rest if word in _AS_WRITTEN else Template(rest).safe_substitute(arguments)
        if word == "FROM":
            base, _, name = filled.partition(" AS ")
            stages.append(Stage(base, name, []))
            continue
        instruction = Instruction(word, filled)
        if word == "ARG":
            arguments |= instruction.pairs
        if stages:
            stages[-1].instructions.append(instruction)
    return stages


def _lines(text: str) -> list[tuple[str, str]]:
    """Word and rest of each instruction: comments left out, continued lines joined."""
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", "", kept)
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines()) if word]
