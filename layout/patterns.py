#!/usr/bin/env python3
"""patterns.py MAP TRACE[,TRACE]...: the linker script that puts next to each other what all traces of the
first argument run, then what else all of the second run, and so on.

Each TRACE is callgrind's account of a run, by instruction (`--dump-instr=yes`), MAP the linker's map of the
same program. A function is named without the hashes of crates, which are others for every compiler and
version; names that begin alike share a pattern where most of what it matches runs. The densest come first,
so that what does not run lies at the end."""
import bisect
import re
import sys

# Of a shared pattern's bytes, so much must run.
DENSE = 0.6
# Bytes beside each function that runs: as many as the kernel maps in one piece when it touches one.
PIECE = 65536
SECTION = re.compile(r"^\s+([0-9a-f]+)\s+[0-9a-f]+\s+([0-9a-f]+)\s+\d+\s+\S.*:\((\.text[^)]*)\)$")
HEAD = """\
/* Made by scripts/layout: what a start of the server runs, and what a pull request does, next to each other.
   The kernel maps a program in pieces of 64 KiB: scattered over 30 MB, these functions kept three times as
   much resident. What is not found is passed over. */
SECTIONS
{
"""
TAIL = "}\nINSERT BEFORE .text;\n"


# Where valgrind loads a program that may lie anywhere.
BASE = 0x108000


def executed(trace):
    """Addresses of instructions of the program itself."""
    begin, addresses = None, set()
    for line in open(trace, errors="replace"):
        if line.startswith("ob="):
            # It knows what lies in `.text` by the file, all else by the place in memory.
            known = line.rstrip().endswith("/checkvalve")
            begin = 0 if known else BASE if line.rstrip() == "ob=???" else None
        elif begin is not None and line.startswith("0x"):
            addresses.add(int(line.split()[0], 16) - begin)
    return addresses


def sections(linked):
    """(address, bytes, name) of every function, by address."""
    matches = map(SECTION.match, open(linked, errors="replace"))
    return sorted((int(m[1], 16), int(m[2], 16), m[3]) for m in matches if m)


def plain(name):
    """Without hashes."""
    legacy = re.match(r"^(\.text\..*?17h)[0-9a-f]{16}E", name)
    return legacy[1] if legacy else re.sub(r"Cs[0-9A-Za-z]{5,}_", "Cs*_", name)


def run_by(trace, found):
    """Addresses of the functions that run."""
    starts = [section[0] for section in found]
    hot = set()
    for address in executed(trace):
        index = bisect.bisect_right(starts, address) - 1
        # What belongs to no function of it is a library's.
        if index >= 0 and address < found[index][0] + found[index][1]:
            hot.add(starts[index])
    return hot


def summed(hot, found):
    """name -> [bytes, bytes that run, functions that run]"""
    names = {}
    for address, size, name in found:
        entry = names.setdefault(plain(name), [0, 0, 0])
        entry[0] += size
        if address in hot:
            entry[1] += size
            entry[2] += 1
    # Assembly of whole files: no name to tell it by.
    names.pop(".text", None)
    return names


def patterns(items, depth=0):
    """(share that runs, prefix), for names in order that are alike up to `depth`."""
    size, hot, count = (sum(entry[n] for _, entry in items) for n in range(3))
    if not hot:
        return
    first, last = items[0][0], items[-1][0]
    if len(items) == 1:
        if (size - hot) / count <= PIECE:
            yield hot / size, first
        return
    while depth < min(len(first), len(last)) and first[depth] == last[depth]:
        depth += 1
    if depth > len(".text._ZN") + 4 and hot / size >= DENSE:
        yield hot / size, first[:depth]
        return
    begin = 0
    for end in range(1, len(items) + 1):
        if end == len(items) or items[end][0][depth:depth + 1] != items[begin][0][depth:depth + 1]:
            yield from patterns(items[begin:end], depth)
            begin = end


def chosen(hot, found):
    """The patterns of what runs, the densest first."""
    names = summed(hot, found)
    some = sorted(patterns(sorted(names.items())), key=lambda one: (-one[0], one[1]))
    if len(some) < 100:
        sys.exit(f"only {len(some)} patterns: the trace or the map is not of this program")
    return [prefix for _, prefix in some]


def main():
    sys.setrecursionlimit(10_000)
    # The simulated GitHub is no part of a server.
    found = [one for one in sections(sys.argv[1]) if "github_simulator" not in one[2]]
    traces = {trace for argument in sys.argv[2:] for trace in argument.split(",")}
    hot = {trace: run_by(trace, found) for trace in traces}
    print(HEAD, end="")
    for argument in sys.argv[2:]:
        named = argument.split(",")
        some = chosen(set.intersection(*(hot[trace] for trace in named)), found)
        print(f"  .text.{'_'.join(trace.rsplit('/', 1)[-1] for trace in named)} : {{")
        print("".join(f"    *({prefix}*)\n" for prefix in some), end="")
        print("  }")
        # The linker takes a function at the first pattern that names it.
        found = [one for one in found if not plain(one[2]).startswith(tuple(some))]
    print(TAIL, end="")


main()
