"""The parameters of a template: how people write a value, what documents hold, and what the legal text says.

An amount is written ``100.00`` and held as 10000; a share is written in percent, ``12.5``, and held as 1250 basis
points; a territory is written ``CN,SG`` and held as a sorted list.

Laws:
    ``p.read(p.show(v)) == p.check(v)`` for every value that ``p.check`` accepts;
    values that differ are shown differently.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from countermark.errors import InputError
from countermark.licensing import WORLDWIDE, is_country

#: The languages of every legal text.
LANGUAGES = ("en", "zh")
#: A text in every language.
Words = Mapping[str, str]
#: What a document holds for a parameter.
Value = int | str | bool | list[str]

# Printable, without blanks around it, and without what means something in Markdown or in our own texts.
_PLAIN = re.compile(r"(?! )[^\x00-\x1f\x7f-\x9f\u2028\u2029{}|<>`\\*_#\[\]]+(?<! )")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A named parameter.

    Attributes:
        name: what people write before ``=``.
        label: what it is, in every language.
        example: a value that shows what is meant: the default, where there is one.
        required: whether it has to be given.
    """

    kind: ClassVar[str]

    name: str
    label: Words
    example: Value = ""
    required: bool = False

    def read(self, text: str) -> Value:
        """Return the value that a person wrote.

        Raises:
            InputError: it is of another kind, or out of range.
        """
        return self.check(text)

    def check(self, value: Any) -> Value:
        """Return a document's value.

        Raises:
            InputError: it is of another kind, or out of range.
        """
        raise NotImplementedError

    def show(self, value: Any) -> str:
        """Write a value as a person would."""
        return str(value)

    def say(self, value: Any, lang: str) -> str:
        """Write a value as the legal text does."""
        return self.show(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Number(Parameter):
    """A whole number from ``low`` to ``high``, counted in ``unit``."""

    kind: ClassVar[str] = "number"

    low: int
    high: int
    unit: Words | None = None

    @staticmethod
    def parse(text: str) -> int | None:
        """Return the number that a text writes, in or out of range, or None."""
        return int(text) if re.fullmatch(r"[0-9]{1,16}", text) else None

    def read(self, text: str) -> int:
        """Return a number in range."""
        number = self.parse(text)
        if number is None:
            raise self._wrong(text)
        return self.check(number)

    def check(self, value: Any) -> int:
        """Return a number in range."""
        if type(value) is int and self.low <= value <= self.high:
            return value
        raise self._wrong(self.show(value) if type(value) is int else str(value))

    def say(self, value: Any, lang: str) -> str:
        """Write a number with separators for thousands."""
        return f"{value:,}"

    def _wrong(self, value: str) -> InputError:
        return InputError("{name} is a whole number from {low} to {high}, not {value}", **self._about(value))

    def _about(self, value: str) -> dict[str, str]:
        return {"name": self.name, "low": self.show(self.low), "high": self.show(self.high), "value": value[:40]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount(Number):
    """An amount of money, held in the smallest unit, a hundredth."""

    kind: ClassVar[str] = "amount"

    @staticmethod
    def parse(text: str) -> int | None:
        """Return the hundredths that a number with at most two decimals has."""
        found = re.fullmatch(r"([0-9]{1,14})(?:\.([0-9]{1,2}))?", text)
        return int(found[1]) * 100 + int((found[2] or "").ljust(2, "0")) if found else None

    def show(self, value: Any) -> str:
        """Write an amount without separators."""
        return show_hundredths(value)

    def say(self, value: Any, lang: str) -> str:
        """Write an amount with separators for thousands."""
        return say_amount(value)

    def _wrong(self, value: str) -> InputError:
        return InputError(
            "{name} is an amount from {low} to {high} with at most two decimals, not {value}", **self._about(value)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Share(Amount):
    """A share in percent, held in basis points, which are hundredths too."""

    kind: ClassVar[str] = "share"

    def say(self, value: Any, lang: str) -> str:
        """Write a share with the sign of percent."""
        return say_share(value, lang)

    def _wrong(self, value: str) -> InputError:
        return InputError(
            "{name} is a share from {low} to {high} percent with at most two decimals, not {value}",
            **self._about(value),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag(Parameter):
    """Yes or no."""

    kind: ClassVar[str] = "flag"

    def read(self, text: str) -> bool:
        """Return whether somebody wrote yes."""
        return self.check({"yes": True, "no": False}.get(text, text))

    def check(self, value: Any) -> bool:
        """Return a truth value."""
        if isinstance(value, bool):
            return value
        raise InputError("{name} is yes or no, not {value}", name=self.name, value=str(value)[:40])

    def show(self, value: Any) -> str:
        """Write yes or no."""
        return "yes" if value else "no"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(Parameter):
    """One of several, by its key."""

    kind: ClassVar[str] = "choice"

    choices: Mapping[str, Words]

    def check(self, value: Any) -> str:
        """Return a key."""
        if isinstance(value, str) and value in self.choices:
            return value
        known = ", ".join(self.choices)
        raise InputError("{name} is one of {known}; not {value}", name=self.name, known=known, value=str(value)[:40])

    def say(self, value: Any, lang: str) -> str:
        """Write what the key stands for."""
        return self.choices[value][lang]


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Parameter):
    """Printable characters on one line, ``low`` to ``high`` of them."""

    kind: ClassVar[str] = "text"

    low: int
    high: int

    def check(self, value: Any) -> str:
        """Return a text without line ends, and without signs of Markdown."""
        if isinstance(value, str) and self.low <= len(value) <= self.high and _PLAIN.fullmatch(value):
            return value
        raise InputError(
            "{name} is one line of {low} to {high} characters, without brackets and signs of Markdown",
            name=self.name,
            low=self.low,
            high=self.high,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Currency(Parameter):
    """A currency's code."""

    kind: ClassVar[str] = "currency"

    def check(self, value: Any) -> str:
        """Return 3 to 12 capitals and digits that begin with a capital."""
        if isinstance(value, str) and re.fullmatch(r"[A-Z][A-Z0-9]{2,11}", value):
            return value
        raise InputError("{name} is a code such as CNY, not {value}", name=self.name, value=str(value)[:40])


@dataclass(frozen=True, slots=True, kw_only=True)
class Territory(Parameter):
    """The whole world, or countries."""

    kind: ClassVar[str] = "territory"

    def read(self, text: str) -> list[str]:
        """Return codes that commas divide."""
        return self.check(sorted({code.strip() for code in text.split(",")}))

    def check(self, value: Any) -> list[str]:
        """Return sorted country codes, or the one word for the world."""
        codes = value if isinstance(value, list) and value else [None]
        if codes == [WORLDWIDE] or (all(map(is_country, codes)) and codes == sorted(set(codes))):
            return codes
        raise InputError(
            "{name} is worldwide, or two-letter country codes such as CN,SG; not {value}",
            name=self.name,
            value=str(value)[:40],
        )

    def show(self, value: Any) -> str:
        """Write codes with commas."""
        return ",".join(value)


KINDS: Mapping[str, type[Parameter]] = {
    cls.kind: cls for cls in (Number, Amount, Share, Flag, Choice, Text, Currency, Territory)
}


def show_hundredths(value: int) -> str:
    """Write hundredths as a number with two decimals."""
    return f"{value // 100}.{value % 100:02d}"


def say_amount(value: int) -> str:
    """Write an amount of the smallest unit with two decimals and separators for thousands."""
    return f"{value // 100:,}.{value % 100:02d}"


def say_share(value: int, lang: str) -> str:
    """Write basis points in percent, as the language does."""
    return show_hundredths(value) + (" %" if lang == "en" else "%")
