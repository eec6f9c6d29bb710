"""`LearnedLR` in the Trainer of transformers, on a language model of a few hundred parameters."""

import warnings

import pytest
import torch
from conftest import Watched
from processes import in_two

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("accelerate", reason="accelerate, which Trainer needs, is not installed")

from lrpilot import ConfigError, hf
from lrpilot.torch import LearnedLR

EPOCHS, BATCHES = 3, 6
SILENT = {"use_cpu": True, "report_to": "none", "disable_tqdm": True, "logging_steps": 1, "save_strategy": "no"}
COUNTED = {
    "by epoch": ({"eval_strategy": "epoch"}, EPOCHS, EPOCHS * BATCHES),
    "accumulated": ({"eval_strategy": "epoch", "gradient_accumulation_steps": 2}, EPOCHS, EPOCHS * BATCHES // 2),
    "clipped": ({"eval_strategy": "epoch", "max_grad_norm": 0.01}, EPOCHS, EPOCHS * BATCHES),
    "not clipped": ({"eval_strategy": "epoch", "max_grad_norm": 0.0}, EPOCHS, EPOCHS * BATCHES),
    "by steps": ({"eval_strategy": "steps", "eval_steps": 2}, EPOCHS * BATCHES // 2, EPOCHS * BATCHES),
}


class Stop(transformers.TrainerCallback):
    """Ends a run as a crash would."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise KeyboardInterrupt


def trainer(policy, folder, settings, total=EPOCHS, callbacks=(), **more):
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=12, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    model = transformers.GPT2LMHeadModel(config)
    words = torch.randint(0, 12, (4 * BATCHES + 8, 1)) + torch.arange(8)
    texts = [{"input_ids": row, "labels": row} for row in words % 12]
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = LearnedLR(optimizer, total=total, policy=policy, **more)
    args = transformers.TrainingArguments(
        **{"output_dir": folder, "num_train_epochs": EPOCHS, "per_device_train_batch_size": 4, **SILENT, **settings}
    )
    made = transformers.Trainer(
        model,
        args,
        train_dataset=texts[: 4 * BATCHES],
        eval_dataset=texts[4 * BATCHES :],
        optimizers=(optimizer, schedule),
        callbacks=[hf.Callback(), *callbacks],
    )
    return made, schedule


def logged(made, name):
    return [entry[name] for entry in made.state.log_history if name in entry]


def weights(made):
    return torch.nn.utils.parameters_to_vector(made.model.parameters())


@pytest.mark.parametrize("case", COUNTED)
def test_one_decision_for_each_evaluation(policy, tmp_path, case):
    settings, decisions, steps = COUNTED[case]
    made, schedule = trainer(policy, tmp_path, hf.arguments(**settings), total=decisions, total_steps=steps)
    watched = Watched(schedule)
    made.train()
    assert [entry["val_loss"] for entry in schedule.history] == logged(made, "eval_loss")
    assert len(schedule.history) == decisions and len(schedule.extract()) == made.state.global_step == steps
    assert watched.lrs == watched.replayed() == schedule.extract(), "of the same observations, without any framework"
    assert len(set(watched.lrs)) == steps
    each = steps // decisions
    for name, key in [("train_loss", "loss"), ("gradient_norm", "grad_norm")]:
        told = torch.tensor(logged(made, key)).reshape(decisions, each).mean(1).tolist()
        assert [entry[name] for entry in schedule.history] == pytest.approx(told, rel=1e-5), "norms before clipping"


def test_a_run_that_was_killed_and_resumed_is_the_uninterrupted_one(policy, tmp_path):
    settings = hf.arguments(eval_strategy="epoch", eval_on_start=True) | {"save_strategy": "steps", "save_steps": 4}
    whole, schedule = trainer(policy, tmp_path / "whole", settings)
    whole.train()
    killed, _ = trainer(policy, tmp_path / "killed", settings, callbacks=[Stop(10)])
    with pytest.raises(KeyboardInterrupt):
        killed.train()
    resumed, other = trainer(policy, tmp_path / "killed", settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "killed" / "checkpoint-8"))  # in the middle of an epoch
    assert other.extract() == schedule.extract() and other.history == schedule.history
    assert torch.equal(weights(resumed), weights(whole))


def test_the_loss_before_the_first_step_reaches_the_policy(policy, tmp_path):
    told = []
    for start in [False, True]:
        made, schedule = trainer(policy, tmp_path, hf.arguments(eval_strategy="epoch", eval_on_start=start))
        watched = Watched(schedule)
        made.train()
        told.append(watched._facts[1]["val_loss"])
        assert len(schedule.history) == EPOCHS
    assert told == [None, logged(made, "eval_loss")[0]]


def test_without_evaluation_a_policy_that_chooses_its_moments_goes_by_the_logs(policy, tmp_path):
    made, schedule = trainer(policy, tmp_path, {}, total=None, total_steps=EPOCHS * BATCHES)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="LearnedLR|eval_strategy")
        made.train()
    assert len(schedule.history) > 3 and all(entry["train_loss"] is not None for entry in schedule.history)


def test_what_cannot_work_is_said_before_training(policy, tmp_path):
    with pytest.raises(ConfigError, match=r"metric_for_best_model: .*hf\.arguments"):
        trainer(policy, tmp_path, {"eval_strategy": "epoch"})[0].train()
    with pytest.raises(ConfigError, match="metric_for_best_model: 'accuracy' is what Trainer hands"):
        hf.arguments(output_dir="run", eval_strategy="epoch", metric_for_best_model="accuracy")
    falling = {"metric_for_best_model": "perplexity", "greater_is_better": False, "eval_strategy": "steps"}
    assert hf.arguments(**falling) == falling
    made, _ = trainer(policy, tmp_path, {})
    made.lr_scheduler = torch.optim.lr_scheduler.ConstantLR(made.optimizer)
    with pytest.raises(ConfigError, match="lr_scheduler: Trainer has ConstantLR"):
        made.train()


def test_a_schedule_that_is_never_called_is_noticed(policy, tmp_path):
    with pytest.warns(UserWarning, match='eval_strategy: "no" gives the schedule no loss'):
        settings = hf.arguments(eval_strategy=transformers.IntervalStrategy.NO)
    made, schedule = trainer(policy, tmp_path, settings)
    with pytest.warns(UserWarning, match="the schedule is never called"):
        made.train()
    assert schedule.history == [] and len(schedule.extract()) == EPOCHS * BATCHES


def together(rank, policy, folder):
    """Runs on this process: what they did, and what they were told."""
    found = {}
    for case in ["by epoch", "accumulated", "clipped", "by steps"]:
        settings, decisions, steps = COUNTED[case]
        made, schedule = trainer(policy, folder, halves(settings), total=decisions, total_steps=steps)
        found[case] = run(made, schedule)
    settings = halves({"eval_strategy": "epoch", "eval_on_start": True, "save_strategy": "steps", "save_steps": 4})
    whole = run(*trainer(policy, folder / "whole", settings))
    with pytest.raises(KeyboardInterrupt):
        trainer(policy, folder / "killed", settings, callbacks=[Stop(10)])[0].train()
    checkpoint = str(folder / "killed" / "checkpoint-8")  # in the middle of an epoch
    found["resumed"] = [whole, run(*trainer(policy, folder / "killed", settings), resume_from_checkpoint=checkpoint)]
    return found


def halves(settings):
    """The settings of a process that takes half of each batch."""
    return hf.arguments(**settings) | {"per_device_train_batch_size": 2}


def run(made, schedule, **more):
    watched, losses = Watched(schedule), []
    compute = made.compute_loss
    made.compute_loss = lambda *args, **named: keep(compute(*args, **named), losses)
    made.train(**more)
    return {
        "weights": weights(made).tolist(),
        "rates": schedule.extract(),
        "made with": watched.lrs,
        "history": schedule.history,
        "eval_loss": logged(made, "eval_loss"),
        "losses": losses,
    }


def keep(loss, losses):
    losses.append((loss[0] if isinstance(loss, tuple) else loss).item())
    return loss


@pytest.fixture(scope="module")
def two(policy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    return in_two(together, folder, policy, folder)


@pytest.mark.parametrize("case", ["by epoch", "accumulated", "clipped", "by steps"])
def test_two_processes_take_the_same_steps(two, case):
    first, second = (each[case] for each in two)
    _, decisions, steps = COUNTED[case]
    assert first["losses"] != second["losses"], "each has its own half of a batch"
    assert first["weights"] == second["weights"]
    assert first["rates"] == second["rates"] == first["made with"] and len(set(first["rates"])) == steps
    assert first["history"] == second["history"] and len(first["history"]) == decisions
    told = [entry["val_loss"] for entry in first["history"]]
    assert told == pytest.approx(first["eval_loss"], rel=1e-6) and len(set(told)) == decisions


def test_two_processes_that_were_killed_and_resumed_go_on_as_if_they_had_not_stopped(two):
    for whole, resumed in (each["resumed"] for each in two):
        assert resumed["rates"] == whole["rates"] and resumed["history"] == whole["history"]
        assert resumed["weights"] == whole["weights"] == two[0]["resumed"][0]["weights"]
