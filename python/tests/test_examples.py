"""What the documentation shows runs, and prints what it says."""

import doctest
import importlib
import pathlib
import re

import pytest
import torch

ROOT = pathlib.Path(__file__).parents[2]


def check_docstrings(name):
    module = importlib.import_module(name)
    names = {**vars(module), "torch": torch}
    tests = [test for test in doctest.DocTestFinder().find(module, globs=names) if test.examples]
    assert tests
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in tests:
        assert runner.run(test).failed == 0, test.name


def check_page(page):
    """The blocks of a page are one program."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)
    assert blocks
    exec("\n".join(blocks), {"__name__": page})


PRIVATE = ["_tensors", "_history", "_losses", "_rates", "_snapshot", "_guard"]


@pytest.mark.parametrize("name", ["lrpilot.torch", *(f"lrpilot.{name}" for name in PRIVATE)])
def test_examples_of_docstrings(name):
    check_docstrings(name)


@pytest.mark.parametrize("page", ["python/README.md", "docs/guide/python.md"])
def test_code_of_pages(page):
    check_page(page)
