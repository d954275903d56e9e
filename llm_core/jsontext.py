"""A reader that knows, byte by byte, where in a JSON text it stands."""

from dataclasses import dataclass, field

_NUMBER = b"0123456789+-.eE"
_ARRAY, _OBJECT = b"["[0], b"{"[0]


@dataclass(slots=True)
class JsonScan:
    """Follows JSON text: inside a string or not, key or value, and the value so far.

    It assumes well-formed text, as a grammar guarantees.
    """

    in_string: bool = False
    is_key: bool = False
    value: bytes = b""  # of the string or number being written, without its quote
    in_number: bool = False
    name: bytes = b""  # the last key of the outermost object
    last: int = 0  # the byte before
    awaits: bool = False  # a value is to begin: behind a colon, or in an array
    finished: list[tuple[bytes, bytes]] = field(default_factory=list)  # names, strings and numbers
    _escaped: bool = False
    _open: list[tuple[int, int]] = field(default_factory=list)  # bracket, commas behind it
    _key_next: bool = False

    @property
    def depth(self) -> int:
        """How many brackets are open."""
        return len(self._open)

    @property
    def items(self) -> int:
        """How many items the innermost array has, the one being written too; 0 elsewhere."""
        return self._open[-1][1] + 1 if self._open and self._open[-1][0] == _ARRAY else 0

    @property
    def keys(self) -> int:
        """How many keys the innermost object has, the one being written too; 0 elsewhere."""
        return self._open[-1][1] + 1 if self._open and self._open[-1][0] == _OBJECT else 0

    def feed(self, text: bytes) -> None:
        """Read on."""
        if self.in_string and not self._escaped and b'"' not in text and b"\\" not in text:
            self.value += text
            self.last = text[-1] if text else self.last
            return
        for byte in text:
            self._step(byte)
            self.last = byte

    def copy(self) -> "JsonScan":
        """A separate reader at the same place."""
        return JsonScan(
            self.in_string,
            self.is_key,
            self.value,
            self.in_number,
            self.name,
            self.last,
            self.awaits,
            list(self.finished),
            self._escaped,
            list(self._open),
            self._key_next,
        )

    def _step(self, byte: int) -> None:
        if self.in_string:
            self._inside(byte)
        elif byte == ord('"'):
            self.in_string, self.in_number, self.value = True, False, b""
            self.is_key, self.awaits = self._key_next, False
        elif byte in _NUMBER and (self.in_number or byte in b"-0123456789"):
            self.value = self.value + bytes([byte]) if self.in_number else bytes([byte])
            self.in_number, self.is_key, self.awaits = True, False, False
        else:
            self._outside(byte)

    def _inside(self, byte: int) -> None:
        if self._escaped:
            self._escaped = False
        elif byte == ord("\\"):
            self._escaped = True
        elif byte == ord('"'):
            self._end()
            self.in_string, self.value = False, b""
            return
        self.value += bytes([byte])

    def _end(self) -> None:
        if not self.is_key:
            self.finished.append((self.name, self.value))
        elif len(self._open) == 1:
            self.name = self.value

    def _outside(self, byte: int) -> None:
        if self.in_number:
            self._end()
        self.in_number, self.value = False, b""
        if byte != ord(" "):
            in_array = bool(self._open) and self._open[-1][0] == _ARRAY
            self.awaits = byte in b":[" or (byte == ord(",") and in_array)
        if byte in b"{[":
            self._open.append((byte, 0))
            self._key_next = byte == _OBJECT
        elif byte in b"}]" and self._open:
            self._open.pop()
        elif byte == ord(",") and self._open:
            bracket, commas = self._open[-1]
            self._open[-1] = bracket, commas + 1
            self._key_next = bracket == _OBJECT
        elif byte == ord(":"):
            self._key_next = False
