"""Dockerfiles: instructions by stage (https://docs.docker.com/reference/dockerfile/)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mcpsec.clientfiles.positions import Malformed

if TYPE_CHECKING:
    from mcpsec.audit.subjects import Subject

__all__ = ["Instruction", "Stage", "final", "read"]

_INSTRUCTION = re.compile(r"\s*([A-Za-z]+)(?:[ \t]+|$)(.*)", re.S)
_HEREDOC = re.compile(r"<<-?[\"']?([A-Za-z_][A-Za-z0-9_]*)[\"']?")
_FLAG = re.compile(r"--([a-z-]+)(?:=(\S*))?\s*")
MAXIMUM_LINES = 20_000


@dataclass(frozen=True)
class Instruction:
    """One instruction; ``text`` is what follows its flags, continued lines joined."""

    name: str
    text: str
    line: int
    flags: dict[str, str] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        """The words of its exec form, else of its shell form."""
        if self.text.startswith("["):
            try:
                parsed = json.loads(self.text)
            except (ValueError, RecursionError):
                parsed = None
            if isinstance(parsed, list):
                return [str(word) for word in parsed]
        return self.text.split()

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Names and values of ENV, ARG and LABEL."""
        found = re.findall(r"([A-Za-z_][\w.-]*)=(\"(?:[^\"\\]|\\.)*\"|'[^']*'|\S*)", self.text)
        if found and re.match(r"[A-Za-z_][\w.-]*=", self.text):
            return [(name, value.strip("\"'")) for name, value in found]
        name, _, value = self.text.partition(" ")
        return [(name, value.strip().strip("\"'"))]


@dataclass
class Stage:
    """One FROM and what follows it."""

    image: str
    name: str
    line: int
    instructions: list[Instruction] = field(default_factory=list)
    base: Stage | None = None

    def last(self, name: str) -> Instruction | None:
        """The last instruction of a name, also of the stage that this one builds on."""
        found = next((each for each in reversed(self.instructions) if each.name == name), None)
        return found or (self.base.last(name) if self.base else None)


def read(subject: Subject) -> list[Stage]:
    """The stages. Raises Malformed."""
    stages: list[Stage] = []
    arguments: dict[str, str] = {}
    for instruction in _instructions(subject.text):
        if instruction.name == "FROM":
            words = instruction.words
            if not words:
                raise Malformed("FROM without an image", instruction.line)
            image = _resolved(words[0], arguments)
            name = words[2] if len(words) > 2 and words[1].lower() == "as" else ""
            base = next((stage for stage in stages if stage.name and stage.name.lower() == image.lower()), None)
            stages.append(Stage(image, name, instruction.line, base=base))
        elif not stages:
            if instruction.name == "ARG":
                arguments |= {key: value for key, value in instruction.pairs if value}
        else:
            stages[-1].instructions.append(instruction)
    if not stages:
        raise Malformed("there is no FROM")
    return stages


def _resolved(image: str, arguments: dict[str, str]) -> str:
    """An image's name with the defaults of its arguments."""
    return re.sub(r"\$\{?(\w+)(?::-([^}]*))?\}?", lambda m: arguments.get(m[1]) or m[2] or m[0], image)


def final(stages: list[Stage]) -> Stage:
    """The stage that becomes the image."""
    return stages[-1]


def _instructions(text: str) -> list[Instruction]:
    found: list[Instruction] = []
    lines = text.splitlines()
    if len(lines) > MAXIMUM_LINES:
        raise Malformed("too many lines", MAXIMUM_LINES)
    number = 0
    while number < len(lines):
        line, at = lines[number], number + 1
        number += 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        while line.rstrip().endswith("\\") and number < len(lines):
            line = line.rstrip()[:-1]
            while number < len(lines) and lines[number].lstrip().startswith("#"):
                number += 1
            if number < len(lines):
                line += "\n" + lines[number]
                number += 1
        match = _INSTRUCTION.fullmatch(line)
        if match is None:
            continue
        body = match[2].strip()
        for end in _HEREDOC.findall(body) if match[1].upper() in ("RUN", "COPY", "ADD") else ():
            while number < len(lines) and lines[number].strip() != end:
                body += "\n" + lines[number]
                number += 1
            number += 1
        flags: dict[str, str] = {}
        while flag := _FLAG.match(body):
            flags[flag[1]] = flag[2] or ""
            body = body[flag.end() :]
        found.append(Instruction(match[1].upper(), body, at, flags))
    return found
