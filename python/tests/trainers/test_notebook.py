"""The notebook runs from top to bottom, and what it says of its results is so."""

import pathlib
import re

import pytest

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
pytest.importorskip("ipykernel", reason="ipykernel is not installed")
pytest.importorskip("matplotlib", reason="matplotlib is not installed")

FILE = pathlib.Path(__file__).parents[2] / "examples" / "start.ipynb"


def printed(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.output_type == "stream")


def test_the_notebook_runs_and_says_what_is_so():
    notebook = nbformat.read(FILE, 4)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    lines = re.findall(r"(.+?) loss on held-back data at the end (\S+)", printed(notebook))
    ends = {name.strip(): float(loss) for name, loss in lines}
    assert len(ends) == 4
    ours = ends.pop("LearnedLR")
    assert ours < 1.3 * min(ends.values()), "about as good as the best of the three"
    assert sum(ours < loss / 2 for loss in ends.values()) == 2, "far better than the other two"


def test_it_is_kept_with_its_results():
    notebook = nbformat.read(FILE, 4)
    images = [o for cell in notebook.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(images) == 3 and "decision 11 of 40" in printed(notebook)
    assert FILE.stat().st_size < 300_000
