"""What the benchmark `impact` measures beside Checkvalve: the Airbyte rule with plain git.

    python3 impact_floor.py REPOSITORY BASE HEAD

Prints the names of the connectors that HEAD changes since its merge base with BASE. The catalog is
every `metadata.yaml` below the connectors' folder; a connector is selected by a changed file in its
folder or by its documentation page, unless it is archived; a pair X, X-strict-encrypt goes together.
"""

import subprocess
import sys

try:
    import yaml

    LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
except ImportError:
    yaml = None

FOLDER = b"airbyte-integrations/connectors/"
SITE = "https://docs.airbyte.com"


def git(repository, *arguments, given=None):
    command = ["git", "-C", repository, *arguments]
    return subprocess.run(command, input=given, stdout=subprocess.PIPE, check=True).stdout


def changed(repository, base, head):
    fields = iter(git(repository, "diff", "--name-status", "-M", "-z", base, head).split(b"\0"))
    paths = set()
    for status in fields:
        if status:
            paths.update(next(fields) for _ in range(2 if status[:1] in b"RC" else 1))
    return paths


def catalog(repository, head):
    found = {}
    for record in git(repository, "ls-tree", "-r", "-z", head).split(b"\0"):
        facts, _, path = record.partition(b"\t")
        folder, _, name = path.rpartition(b"/")
        if name == b"metadata.yaml" and folder.startswith(FOLDER) and b"-scaffold-" not in folder:
            found[folder] = facts.split()[2]
    return found


def contents(repository, names):
    given = b"".join(name + b"\n" for name in names)
    answers = git(repository, "cat-file", "--batch", given=given)
    found, at = {}, 0
    for name in names:
        end = answers.index(b"\n", at)
        header = answers[at:end].split()
        if header[-1] == b"missing":
            at = end + 1
            continue
        size = int(header[2])
        found[name] = answers[end + 1 : end + 1 + size]
        at = end + 1 + size + 1
    return found


def minimal(text):
    """Two keys, without a YAML parser."""
    found = {}
    for line in text.decode("utf-8", "replace").splitlines():
        key, _, value = line.strip().partition(":")
        if key in ("supportLevel", "documentationUrl"):
            found.setdefault(key, value.strip().strip("'\""))
    return found


def metadata(text):
    if yaml is None:
        return minimal(text)
    try:
        document = yaml.load(text, Loader=LOADER)
        return document.get("data") or {}
    except (yaml.YAMLError, AttributeError):
        return {}


def main(repository, base, head):
    merge_base = git(repository, "merge-base", base, head).decode().strip()
    paths = changed(repository, merge_base, head)
    folders = catalog(repository, head)
    texts = contents(repository, sorted(set(folders.values())))
    touched = set()
    for path in paths:
        parts = path.split(b"/")
        touched.update(b"/".join(parts[:depth]) for depth in range(1, len(parts)))
    names, selected = set(), set()
    for folder, oid in folders.items():
        facts = metadata(texts.get(oid, b""))
        name = folder.rpartition(b"/")[2].decode("utf-8", "replace")
        names.add(name)
        if facts.get("supportLevel") == "archived":
            continue
        page = str(facts.get("documentationUrl") or "")
        page = "docs/" + page[len(SITE) :].strip("/") + ".md" if page.startswith(SITE) else None
        if folder in touched or (page and page.encode() in paths):
            selected.add(name)
    for name in list(selected):
        plain = name.removesuffix("-strict-encrypt")
        selected.update(pair for pair in (plain, plain + "-strict-encrypt") if pair in names)
    print("\n".join(sorted(selected)))


if __name__ == "__main__":
    main(*sys.argv[1:4])
