"""Runs the tests of one folder and writes a JUnit report: `run_tests.py unit_tests`.

With pytest where it is installed. Elsewhere the same tests, which are plain functions, run under
`unittest`, so that the example works on any machine that has Python. The report goes to
`$CHECKVALVE_OUT/junit.xml`, if there is such a folder.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
import tempfile
import time
import unittest
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

ROOT = Path.cwd()
NO_TESTS = 5  # as pytest has it


def report_path() -> Path | None:
    out = os.environ.get("CHECKVALVE_OUT")
    return Path(out, "junit.xml") if out else None


def run_with_pytest(folder: str) -> int:
    import pytest

    arguments = [folder, "-p", "no:cacheprovider", "-o", "junit_family=xunit1", "--color=no", "-v"]
    report = report_path()
    return int(pytest.main(arguments + ([f"--junitxml={report}"] if report else [])))


class Timed(unittest.TextTestResult):
    """Keeps how long each test took, and how it ended."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cases: list[tuple[unittest.TestCase, float, str | None, str]] = []

    def startTest(self, test: unittest.TestCase) -> None:
        self.began = time.perf_counter()
        super().startTest(test)

    def keep(self, test: unittest.TestCase, kind: str | None = None, text: str = "") -> None:
        self.cases.append((test, time.perf_counter() - self.began, kind, text))

    def addSuccess(self, test: unittest.TestCase) -> None:
        super().addSuccess(test)
        self.keep(test)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        super().addFailure(test, err)
        self.keep(test, "failure", self.failures[-1][1])

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        super().addError(test, err)
        self.keep(test, "error", self.errors[-1][1])


class Function(unittest.FunctionTestCase):
    """A test function, with a folder of its own if it asks for `tmp_path` as pytest has it."""

    def __init__(self, function: Any, module: str) -> None:
        super().__init__(function)
        self.function, self.module = function, module

    def runTest(self) -> None:
        wanted = list(inspect.signature(self.function).parameters)
        if not wanted:
            self.function()
        elif wanted == ["tmp_path"]:
            with tempfile.TemporaryDirectory() as folder:
                self.function(Path(folder))
        else:
            self.fail(f"these tests know no {', '.join(wanted)} without pytest")

    def __str__(self) -> str:
        return f"{self.module}::{self.function.__name__}"


def load(path: Path) -> ModuleType:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_with_unittest(folder: str) -> int:
    sys.path.insert(0, str(ROOT))
    load(ROOT / "conftest.py")
    suite = unittest.TestSuite()
    for path in sorted((ROOT / folder).rglob("test_*.py")):
        module = load(path)
        for name, value in vars(module).items():
            if name.startswith("test_") and inspect.isfunction(value):
                suite.addTest(Function(value, module.__name__))
    runner = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Timed)
    result = runner.run(suite)
    write_report(folder, result.cases)
    if not result.testsRun:
        print(f"there are no tests in {folder}")
        return NO_TESTS
    return 0 if result.wasSuccessful() else 1


def write_report(folder: str, cases: list[tuple[unittest.TestCase, float, str | None, str]]) -> None:
    path = report_path()
    if path is None:
        return
    suite = ElementTree.Element("testsuite", name=folder, tests=str(len(cases)))
    suite.set("failures", str(sum(kind == "failure" for _, _, kind, _ in cases)))
    suite.set("errors", str(sum(kind == "error" for _, _, kind, _ in cases)))
    suite.set("time", f"{sum(seconds for _, seconds, _, _ in cases):.3f}")
    for test, seconds, kind, text in cases:
        attributes = {"name": test.function.__name__, "classname": test.module}
        code = test.function.__code__
        attributes["file"] = str(Path(code.co_filename).relative_to(ROOT))
        attributes["line"] = str(code.co_firstlineno)
        case = ElementTree.SubElement(suite, "testcase", time=f"{seconds:.3f}", **attributes)
        if kind is not None:
            message = text.strip().splitlines()[-1]
            ElementTree.SubElement(case, kind, message=message).text = text
    ElementTree.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def main() -> int:
    if len(sys.argv) != 2 or not (ROOT / sys.argv[1]).is_dir():
        print("usage, in a connector's folder: run_tests.py unit_tests", file=sys.stderr)
        return 2
    if importlib.util.find_spec("pytest") is None:
        return run_with_unittest(sys.argv[1])
    return run_with_pytest(sys.argv[1])


if __name__ == "__main__":
    sys.exit(main())
