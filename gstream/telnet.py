"""What telnet clients mix into the data (RFC 854): option negotiation, Ctrl-C, doubled 255s.

Takes bytes and gives bytes; knows no socket and no command. Every offer and request is refused, since this server has
no options. That answer matters: after Ctrl-C a telnet client sends IAC IP, IAC DO TIMING-MARK and shows nothing more
until it is told IAC WONT TIMING-MARK (RFC 860).
"""

from __future__ import annotations

__all__ = ["IAC", "INTERRUPT", "TelnetFilter"]

IAC = 255
INTERRUPT = b"\xff\xf4"
"""IAC IP: Ctrl-C."""

_DONT, _DO, _WONT, _WILL, _SB, _SE = 254, 253, 252, 251, 250, 240
_REFUSAL = {_DO: _WONT, _WILL: _DONT}


class TelnetFilter:
    """Splits what a telnet client sends into the data it means and the answers it waits for.

    Keeps at most two bytes between calls, however the input is cut; a subnegotiation's content is dropped unseen.
    """

    __slots__ = ("_after_cr", "_pending", "_subnegotiating")

    def __init__(self) -> None:
        self._pending = b""  # the beginning of a sequence: IAC, or IAC and a verb
        self._after_cr = False
        self._subnegotiating = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """The data without telnet's sequences (CR NUL, its bare return, becomes CR LF), and the answer."""
        clean = bytearray()
        answer = bytearray()
        data = self._pending + data
        position = 0
        while position < len(data):
            start = position
            position = data.find(IAC, start)
            if position < 0:
                position = len(data)
            if not self._subnegotiating:
                clean += self._newlines(data[start:position])
            if position < len(data):
                length = self._sequence(data, position, clean, answer)
                if not length:
                    break
                position += length
        self._pending = data[position:]
        return bytes(clean), bytes(answer)

    def end(self) -> None:
        """The client sends nothing more: a sequence that is not complete is none."""
        self._pending = b""
        self._subnegotiating = False

    def _sequence(self, data: bytes, position: int, clean: bytearray, answer: bytearray) -> int:
        """Handle the sequence at ``position``; its length, or 0 while it is incomplete."""
        if position + 1 >= len(data):
            return 0
        verb = data[position + 1]
        if self._subnegotiating:
            self._subnegotiating = verb != _SE
            return 2
        if verb == IAC:
            clean += self._newlines(b"\xff")
        elif verb == _SB:
            self._subnegotiating = True
        elif verb in (_DO, _DONT, _WILL, _WONT):
            if position + 2 >= len(data):
                return 0
            if verb in _REFUSAL:
                answer += bytes((IAC, _REFUSAL[verb], data[position + 2]))
            return 3
        return 2

    def _newlines(self, data: bytes) -> bytes:
        if self._after_cr and data.startswith(b"\0"):
            data = b"\n" + data[1:]
        if data:
            self._after_cr = data.endswith(b"\r")
        return data.replace(b"\r\0", b"\r\n")
