#!/usr/bin/env python3
"""Runs a program in a pseudo-terminal, does to it what a person does, and tells what stood on the screen.

at_terminal.py ROWS COLUMNS SECONDS PROGRAM ARGUMENT...     with a list of deeds, as JSON, on standard input:
  ["wait", TEXT]       until it stands on the screen
  ["gone", TEXT]       until it does not
  ["key", TEXT]        typed
  ["resize", R, C]
  ["pause", SECONDS]
  ["shot"]             remember the screen
Answers JSON: status, everything that was written, the screens that were remembered and the last one,
and what scrolled off. A deed that does not come about in time ends the program and says so in `late`.
"""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
import unicodedata

TOKEN = re.compile(
    r"\x1b\[([0-9;?]*)([@-~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[^\[\]]|[\r\n\b\t]|[^\x1b\r\n\b\t]", re.S
)


class Screen:
    """As much of a terminal as progress displays use."""

    def __init__(self, rows, columns):
        self.rows, self.columns = rows, columns
        self.lines = [[] for _ in range(rows)]
        self.row = self.column = 0
        self.scrolled = []
        self.unknown = []
        self.wrapped = 0
        self.rest = ""

    def resize(self, rows, columns):
        # Lines that are too long now are folded, as most terminals do; the cursor stays with its text.
        folded, row = [], 0
        for number, line in enumerate(self.lines):
            if number == self.row:
                row = len(folded)
            pieces = [line[at : at + columns] for at in range(0, max(len(line), 1), columns)]
            folded += pieces
        while folded and not folded[-1] and len(folded) > row + 1:
            folded.pop()
        extra = max(0, row + 1 - rows)
        self.scrolled += ["".join(line) for line in folded[:extra]]
        folded = folded[extra:][:rows]
        self.lines = folded + [[] for _ in range(rows - len(folded))]
        self.row, self.column = row - extra, 0
        self.rows, self.columns = rows, columns

    def down(self):
        if self.row + 1 < self.rows:
            self.row += 1
        else:
            self.scrolled.append("".join(self.lines.pop(0)))
            self.lines.append([])

    def put(self, c):
        width = 2 if unicodedata.east_asian_width(c) in "WF" else 1
        if self.column + width > self.columns:
            self.wrapped += 1
            self.column = 0
            self.down()
        line = self.lines[self.row]
        line.extend(" " * (self.column - len(line)))
        line[self.column : self.column + width] = [c] + [""] * (width - 1)
        self.column += width

    def feed(self, text):
        text = self.rest + text
        self.rest = ""
        at = 0
        while at < len(text):
            found = TOKEN.match(text, at)
            if not found:
                self.rest = text[at:]
                return
            at = found.end()
            self.token(found)

    def token(self, found):
        token = found.group(0)
        if found.group(2):
            self.control(found.group(1), found.group(2))
        elif token == "\r":
            self.column = 0
        elif token == "\n":
            self.down()
        elif token == "\b":
            self.column = max(0, self.column - 1)
        elif token.startswith("\x1b") or (len(token) == 1 and ord(token) < 32):
            self.unknown.append(token)
        else:
            self.put(token)

    def control(self, parameters, kind):
        if kind == "A":
            self.row = max(0, self.row - int(parameters or 1))
        elif kind == "J" and parameters in ("", "0"):
            self.lines[self.row] = self.lines[self.row][: self.column]
            for row in range(self.row + 1, self.rows):
                self.lines[row] = []
        elif kind == "K" and parameters in ("", "0"):
            self.lines[self.row] = self.lines[self.row][: self.column]
        elif kind != "m":
            self.unknown.append(f"{parameters}{kind}")

    def text(self):
        lines = ["".join(line).rstrip() for line in self.lines]
        while lines and not lines[-1]:
            lines.pop()
        return "\n".join(lines)


def main():
    rows, columns, seconds = (int(argument) for argument in sys.argv[1:4])
    deeds = json.load(sys.stdin)
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.execvp(sys.argv[4], sys.argv[4:])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    screen, written, shots, late = Screen(rows, columns), b"", [], None
    end = time.monotonic() + seconds
    decoder = __import__("codecs").getincrementaldecoder("utf-8")("replace")
    open_, paused = True, None
    while open_ and late is None:
        ready, _, _ = select.select([terminal], [], [], 0.02)
        if ready:
            try:
                piece = os.read(terminal, 65536)
            except OSError:
                piece = b""
            open_ = bool(piece)
            written += piece
            screen.feed(decoder.decode(piece))
        whole = "\n".join(screen.scrolled + [screen.text()])
        # A person looks at whole pictures.
        while deeds and not ready:
            what, *rest = deeds[0]
            if what == "wait" and rest[0] not in whole or what == "gone" and rest[0] in screen.text():
                break
            if what == "pause":
                paused = paused or time.monotonic() + rest[0]
                if time.monotonic() < paused:
                    break
                paused = None
            deeds.pop(0)
            if what == "key":
                os.write(terminal, rest[0].encode())
            elif what == "resize":
                screen.resize(*rest)
                fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", *rest, 0, 0))
            elif what == "shot":
                shots.append(screen.text())
        if time.monotonic() > end:
            late = deeds[0] if deeds else "the end"
    if late is not None:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    json.dump(
        {
            "status": os.waitstatus_to_exitcode(status),
            "late": late,
            "written": written.decode(errors="replace"),
            "shots": shots,
            "screen": screen.text(),
            "scrolled": "\n".join(screen.scrolled),
            "unknown": screen.unknown,
            "wrapped": screen.wrapped,
        },
        sys.stdout,
    )


main()
