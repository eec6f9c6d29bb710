"""The chart of a run."""

import sys

import pytest
import torch

from lrpilot.torch import LearnedLR


@pytest.fixture
def pyplot(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="matplotlib is not installed")
    yield pyplot
    pyplot.close("all")


def begun(policy, problem):
    optimizer = torch.optim.SGD(problem.model.parameters())
    return optimizer, LearnedLR(optimizer, total=3, policy=policy)


def test_the_chart_shows_every_step_and_every_loss(pyplot, policy, problem, tmp_path):
    optimizer, schedule = begun(policy, problem)
    told = []
    for _ in range(3):
        for i in range(4):
            problem.step(optimizer, i, schedule)
        told.append(problem.val_loss())
        schedule.step(told[-1])
    axes = schedule.plot()
    (rates,) = axes.get_lines()
    assert rates.get_ydata().tolist() == schedule.extract() and rates.get_xdata().tolist() == list(range(12))
    losses = axes.figure.axes[1]
    by_label = {line.get_label(): line for line in losses.get_lines()}
    assert by_label["loss on held-back data"].get_xydata().tolist() == [
        [4 * k + 4, loss] for k, loss in enumerate(told)
    ]
    assert by_label["training loss"].get_ydata().tolist() == [each["train_loss"] for each in schedule.history]
    shown = [text.get_text() for text in losses.get_legend().get_texts()]
    assert shown == ["learning rate", "loss on held-back data", "training loss"]
    axes.figure.savefig(tmp_path / "run.png")


@pytest.mark.filterwarnings("error")
def test_a_run_without_decisions_is_drawn_on_the_axes_given(pyplot, policy, problem):
    optimizer, schedule = begun(policy, problem)
    problem.step(optimizer, 0)
    axes = pyplot.subplots()[1]
    assert schedule.plot(axes) is axes and len(axes.get_lines()) == 1


def test_without_matplotlib_the_message_names_the_extra(policy, problem, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'lrpilot\[plot\]'"):
        begun(policy, problem)[1].plot()
