"""What the `format` of a JSON schema asks of a string, checked without optional packages.

The packages that the jsonschema library would use for half of the formats are not ours; a
format that nothing checks would pass whatever a grammar lets through.
"""

import re
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jsonschema import FormatChecker

_TIME = re.compile(
    r"(?:[01]\d|2[0-3]):[0-5]\d:(?:[0-5]\d|60)(?:\.\d+)?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DURATION = re.compile(
    r"P(?:\d+W|(?=.)(?:\d+Y)?(?:\d+M)?(?:\d+D)?(?:T(?=.)(?:\d+H)?(?:\d+M)?(?:\d+S)?)?)",
    re.ASCII,
)
_LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?", re.ASCII)
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL = re.compile(rf'{_ATOM}(?:\.{_ATOM})*|"(?:[^"\\\r\n]|\\[ -~])*"', re.ASCII)
_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", re.ASCII)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:", re.ASCII)
_URI = re.compile(r"(?:[A-Za-z0-9._~:/?\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*", re.ASCII)
_IRI = re.compile(r"""(?:[^\x00-\x20<>"{}|\\^`%#\x7f]|%[0-9A-Fa-f]{2})*""")
_TEMPLATE = re.compile(r"""(?:[^\x00-\x20<>"{}|\\^`%\x7f]|%[0-9A-Fa-f]{2}|\{[^{}\s]+\})*""")
_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*")
_RELATIVE = re.compile(r"(?:0|[1-9]\d*)(?:#|(?:/(?:[^~/]|~[01])*)*)", re.ASCII)


@lru_cache(maxsize=1)
def format_checker() -> "FormatChecker":
    """What checks `format` while a value is validated; unknown formats pass."""
    from jsonschema import FormatChecker

    checker = FormatChecker(formats=())
    for name, holds in _CHECKS.items():
        checker.checks(name)(_of_strings(holds))
    return checker


def _of_strings(holds: Callable[[str], bool]) -> Callable[[object], bool]:
    return lambda value: not isinstance(value, str) or holds(value)


def _date(text: str) -> bool:
    if not _DATE.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _date_time(text: str) -> bool:
    return text[10:11] in ("T", "t") and _date(text[:10]) and _time(text[11:])


def _time(text: str) -> bool:
    return _TIME.fullmatch(text) is not None


def _email(text: str) -> bool:
    local, _, host = text.rpartition("@")
    return _LOCAL.fullmatch(local) is not None and (_hostname(host) or _literal(host))


def _literal(host: str) -> bool:
    """An address in brackets, as mail allows in place of a host's name."""
    inner = host[1:-1] if host[:1] + host[-1:] == "[]" else ""
    return _is_ip(inner, IPv4Address) or _is_ip(inner.removeprefix("IPv6:"), IPv6Address)


def _idn_email(text: str) -> bool:
    local, _, host = text.rpartition("@")
    return bool(local) and bool(host) and not any(c.isspace() for c in local + host)


def _hostname(text: str) -> bool:
    return len(text) <= 253 and _HOST.fullmatch(text) is not None


def _is_ip(text: str, kind: type[IPv4Address] | type[IPv6Address]) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return "%" not in text  # a zone is no part of an address


def _reference(text: str, allowed: re.Pattern[str]) -> bool:
    head, _, fragment = text.partition("#")
    if not _SCHEME.match(head) and ":" in re.split("[/?]", head, maxsplit=1)[0]:
        return False  # it would be read as a scheme
    return allowed.fullmatch(head) is not None and allowed.fullmatch(fragment) is not None


def _regex(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


_CHECKS: dict[str, Callable[[str], bool]] = {
    "date": _date,
    "time": _time,
    "date-time": _date_time,
    "duration": lambda text: _DURATION.fullmatch(text) is not None,
    "email": _email,
    "idn-email": _idn_email,
    "hostname": _hostname,
    "ipv4": lambda text: _is_ip(text, IPv4Address),
    "ipv6": lambda text: _is_ip(text, IPv6Address),
    "uuid": lambda text: _UUID.fullmatch(text) is not None,
    "uri": lambda text: _SCHEME.match(text) is not None and _reference(text, _URI),
    "uri-reference": lambda text: _reference(text, _URI),
    "iri": lambda text: _SCHEME.match(text) is not None and _reference(text, _IRI),
    "iri-reference": lambda text: _reference(text, _IRI),
    "uri-template": lambda text: _TEMPLATE.fullmatch(text) is not None,
    "json-pointer": lambda text: _POINTER.fullmatch(text) is not None,
    "relative-json-pointer": lambda text: _RELATIVE.fullmatch(text) is not None,
    "regex": _regex,
}
