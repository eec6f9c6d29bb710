"""What the documentation shows runs, and prints what it says."""

import doctest
import importlib
import pathlib
import re

import pytest
import torch

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.parametrize(
    "name",
    [
        "lrpilot.torch",
        "lrpilot.gym",
        "lrpilot._tensors",
        "lrpilot._history",
        "lrpilot._losses",
        "lrpilot._rates",
        "lrpilot._settings",
        "lrpilot._task",
        "lrpilot._problem",
        "lrpilot._torch_task",
        "lrpilot._vector_task",
    ],
)
def test_examples_of_docstrings(name, monkeypatch, tmp_path):
    if name == "lrpilot.gym":
        pytest.importorskip("gymnasium", reason="Gymnasium is not installed")
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    names = {**vars(module), "torch": torch}
    tests = [test for test in doctest.DocTestFinder().find(module, globs=names) if test.examples]
    assert tests
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in tests:
        assert runner.run(test).failed == 0, test.name


@pytest.mark.parametrize("page", ["python/README.md", "docs/guide/python.md", "docs/guide/python-tasks.md"])
def test_code_of_pages(page, monkeypatch, tmp_path):
    """The blocks of a page are one program."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)
    assert blocks
    exec("\n".join(blocks), {})
