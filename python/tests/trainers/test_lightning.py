"""`LearnedLR` in Lightning."""

import warnings

import pytest
import torch
from conftest import Problem, Watched
from processes import in_two

pl = pytest.importorskip("lightning.pytorch", reason="lightning is not installed")

from lightning.fabric.plugins.environments import LightningEnvironment

from lrpilot.lightning import Callback
from lrpilot.torch import LearnedLR

EPOCHS, BATCHES = 4, 6
EVERY_EPOCH = {"monitor": "val_loss"}
CASES = {
    "by epoch": (EVERY_EPOCH, {}, EPOCHS),
    "by steps": ({"monitor": "val_loss", "interval": "step", "frequency": 3}, {"val_check_interval": 3}, EPOCHS * 2),
    "training loss": ({"monitor": "train_loss", "interval": "step", "frequency": 2}, {}, EPOCHS * 3),
    "bf16": (EVERY_EPOCH, {"precision": "bf16-mixed"}, EPOCHS),
    "accumulated": (EVERY_EPOCH, {"accumulate_grad_batches": 3}, EPOCHS),
    "clipped": (EVERY_EPOCH, {"gradient_clip_val": 1e-3}, EPOCHS),
}


class Batches:
    """Batches in order, of two processes the half of each; a run that is resumed within an epoch goes on where it stopped."""

    def __init__(self, problem, rank=None):
        part = slice(0, 8) if rank is None else slice(4 * rank, 4 * rank + 4)
        pairs = zip(problem.x[:48].split(8), problem.y[:48].split(8), strict=True)
        self.batches, self.at = [(x[part], y[part]) for x, y in pairs], 0

    def __len__(self):
        return BATCHES

    def __iter__(self):
        for at in range(self.at % BATCHES, BATCHES):
            self.at = at + 1
            yield self.batches[at]

    def state_dict(self):
        return {"at": self.at % BATCHES}

    def load_state_dict(self, state):
        self.at = state["at"]


class Module(pl.LightningModule):
    def __init__(self, policy, total, config):
        super().__init__()
        self.problem = Problem()
        self.model = self.problem.model
        self.made = (policy, total, config)
        self.losses, self.norms = [], []

    def loss(self, batch):
        x, y = batch
        return torch.nn.functional.mse_loss(self.model(x), y)

    def training_step(self, batch, _):
        loss = self.loss(batch)
        self.log("train_loss", loss)
        self.losses.append(loss.item())
        return loss

    def validation_step(self, batch, _):
        self.log("val_loss", self.loss(batch))

    def on_before_optimizer_step(self, _):
        gradients = torch.cat([parameter.grad.flatten() for parameter in self.model.parameters()])
        self.norms.append(gradients.norm().item())

    def configure_optimizers(self):
        policy, total, config = self.made
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        steps = EPOCHS * BATCHES // self.trainer.accumulate_grad_batches
        self.schedule = LearnedLR(optimizer, total=total, total_steps=steps, policy=policy)
        self.watched = Watched(self.schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.schedule, **config}}


def fitted(policy, folder, config, settings, total, epochs=EPOCHS, checkpoint=None, rank=None, **more):
    torch.manual_seed(0)
    module = Module(policy, total, config)
    problem = module.problem
    held_back = torch.utils.data.TensorDataset(problem.x[48:], problem.y[48:])
    train, val = Batches(problem, rank), torch.utils.data.DataLoader(held_back, batch_size=16)
    callbacks = [Callback(), *more.pop("callbacks", [])]
    settings = settings if rank is None else {**settings, **joined()}
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = pl.Trainer(
        max_epochs=epochs, default_root_dir=folder, callbacks=callbacks, **quiet, **settings, num_sanity_val_steps=0
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(num_workers|checkpoint directory|LeafSpec|training batches).*")
        trainer.fit(module, train, val, ckpt_path=checkpoint)
    return module


@pytest.mark.parametrize("case", CASES)
def test_a_decision_whenever_lightning_hands_a_metric(policy, tmp_path, case):
    config, settings, decisions = CASES[case]
    module = fitted(policy, tmp_path, config, {"enable_checkpointing": False, **settings}, decisions)
    schedule, watched = module.schedule, module.watched
    steps = EPOCHS * BATCHES // settings.get("accumulate_grad_batches", 1)
    assert len(schedule.history) == decisions and len(schedule.extract()) == steps
    assert watched.lrs == watched.replayed() == schedule.extract(), "of the same observations, without any framework"
    assert len(set(watched.lrs)) == steps
    told = [sum(losses) / len(losses) for losses in torch.tensor(module.losses).reshape(decisions, -1).tolist()]
    assert [entry["train_loss"] for entry in schedule.history] == pytest.approx(told, rel=1e-5)
    norms = [sum(each) / len(each) for each in torch.tensor(module.norms).reshape(decisions, -1).tolist()]
    assert [entry["gradient_norm"] for entry in schedule.history] == pytest.approx(norms, rel=1e-5), "before clipping"


@pytest.mark.parametrize("clip", [None, 1e-3])
def test_the_first_learning_rate_is_that_of_gradients_that_are_not_clipped(policy, tmp_path, clip):
    module = fitted(policy, tmp_path, EVERY_EPOCH, {"gradient_clip_val": clip, "enable_checkpointing": False}, EPOCHS)
    free = fitted(policy, tmp_path, EVERY_EPOCH, {"enable_checkpointing": False}, EPOCHS)
    assert module.schedule.extract()[0] == pytest.approx(free.schedule.extract()[0], rel=1e-5)


RESUMED = {
    "within an epoch": (EVERY_EPOCH, {}, {"every_n_train_steps": 4}, 8),
    "after validation": (EVERY_EPOCH, {}, {"every_n_epochs": 1}, 12),
    "without validation": ({"monitor": "train_loss"}, {"limit_val_batches": 0}, {"every_n_train_steps": 4}, 8),
}


@pytest.mark.parametrize("case", RESUMED)
def test_a_resumed_run_is_the_uninterrupted_one(policy, tmp_path, case):
    config, settings, when, at = RESUMED[case]
    settings = {"enable_checkpointing": True, **settings}
    whole = fitted(policy, tmp_path / "whole", config, settings, EPOCHS)
    saving = pl.callbacks.ModelCheckpoint(dirpath=tmp_path / "saved", filename="{step}", save_top_k=-1, **when)
    fitted(policy, tmp_path, config, settings, EPOCHS, epochs=2, callbacks=[saving])
    saved = tmp_path / "saved" / f"step={at}.ckpt"
    resumed = fitted(policy, tmp_path, config, settings, EPOCHS, checkpoint=saved)
    assert resumed.schedule.extract() == whole.schedule.extract() and len(whole.schedule.history) == EPOCHS
    assert resumed.schedule.history == whole.schedule.history
    assert all(map(torch.equal, resumed.parameters(), whole.parameters()))


#: With two processes; each has the metric of its own half of the data.
TOGETHER = {case: CASES[case] for case in ["by epoch", "by steps", "accumulated", "clipped"]}


def together(rank, policy, folder):
    """A run of each kind on this process: what it did, and what it was told."""
    found = {}
    for case, (config, settings, decisions) in TOGETHER.items():
        settings = {"enable_checkpointing": False, **settings}
        found[case] = facts(fitted(policy, folder, config, settings, decisions, rank=rank))
    for case, (config, settings, when, at) in RESUMED.items():
        settings, place = {"enable_checkpointing": True, **settings}, folder / case
        whole = fitted(policy, place / "whole", config, settings, EPOCHS, rank=rank)
        saving = pl.callbacks.ModelCheckpoint(dirpath=place, filename="{step}", save_top_k=-1, **when)
        fitted(policy, place, config, settings, EPOCHS, epochs=2, rank=rank, callbacks=[saving])
        saved = place / f"step={at}.ckpt"
        resumed = fitted(policy, place, config, settings, EPOCHS, rank=rank, checkpoint=saved)
        found[case] = [facts(whole), facts(resumed)]
    return found


def joined():
    """Settings for the processes that are there already."""
    strategy = pl.strategies.DDPStrategy(cluster_environment=LightningEnvironment())
    return {"devices": 2, "strategy": strategy, "use_distributed_sampler": False}


def facts(module):
    return {
        "weights": torch.nn.utils.parameters_to_vector(module.parameters()).tolist(),
        "rates": module.schedule.extract(),
        "replayed": module.watched.replayed() if hasattr(module.watched, "_facts") else None,
        "history": module.schedule.history,
        "losses": module.losses,
    }


@pytest.fixture(scope="module")
def two(policy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    return in_two(together, folder, policy, folder)


@pytest.mark.parametrize("case", TOGETHER)
def test_two_processes_take_the_same_steps(two, case):
    first, second = (each[case] for each in two)
    decisions = TOGETHER[case][2]
    assert first["losses"] != second["losses"], "each has its own half of a batch"
    assert first["weights"] == second["weights"] and first["rates"] == second["rates"] == first["replayed"]
    assert first["history"] == second["history"] and len(first["history"]) == decisions
    losses = torch.tensor([first["losses"], second["losses"]]).mean(0).reshape(decisions, -1).mean(1).tolist()
    assert [entry["train_loss"] for entry in first["history"]] == pytest.approx(losses, rel=1e-5)


@pytest.mark.parametrize("case", RESUMED)
def test_two_processes_that_are_resumed_go_on_as_if_they_had_not_stopped(two, case):
    for whole, resumed in (each[case] for each in two):
        assert resumed["rates"] == whole["rates"] and len(whole["history"]) == EPOCHS
        assert resumed["history"] == whole["history"]
        assert resumed["weights"] == whole["weights"] == two[0][case][0]["weights"]
