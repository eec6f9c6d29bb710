"""A PyTorch module as a task to learn a policy on."""

import io
from typing import Any

import torch
from torch import Tensor

from lrpilot import _tensors
from lrpilot._native import Hyperparameters
from lrpilot._problem import Examples, LossFn, ModelFn, OptimizerFn, Problem, seeded, sgd
from lrpilot._task import Measurement

__all__ = ["TorchTask"]


class TorchTask:
    """Training runs of a PyTorch model, for `lrpilot.learn`.

    It measures what `LearnedLR` measures in a training loop: losses of all batches, gradients in sixteen steps of an
    interval, weights, and a loss on held-back data at the interval's end. Initial weights, batches and dropout depend on the
    seed of the run alone.

    Parameters
    ----------
    model_fn
        Makes the untrained model from the global random numbers of PyTorch.
    data
        All inputs and all targets, as two tensors; they are moved to the device.
    loss
        Mean loss of a batch from the model's outputs and the targets.
    optimizer
        Makes the optimizer of the parameters that it is given, SGD with a momentum of 0.9 by default; whatever learning rate
        it has is replaced.
    batch_size
        Examples in an optimizer step.
    interval_steps
        Optimizer steps between two decisions; an epoch by default.
    horizon
        Intervals in a run.
    held_back
        Share of the data that is not trained on: one half of it is seen by the policy, the other one chooses between
        policies.
    lr_bounds
        Smallest and largest learning rate.
    name
        For people, and for the folder of a run.
    device
        Where to train.

    Raises
    ------
    ConfigError
        For a value out of its range.

    Examples
    --------
    >>> import lrpilot
    >>> x = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    >>> task = TorchTask(
    ...     lambda: torch.nn.Linear(4, 1),
    ...     (x, x.sum(1, keepdim=True)),
    ...     torch.nn.functional.mse_loss,
    ...     interval_steps=2,
    ...     horizon=4,
    ... )
    >>> policy = lrpilot.learn(task, 300, environments=2, settings={"learn.candidates": 1})
    >>> policy.save("policy.safetensors")  # for LearnedLR(optimizer, policy="policy.safetensors", total=4)
    """

    def __init__(
        self,
        model_fn: ModelFn,
        data: Examples,
        loss: LossFn,
        optimizer: OptimizerFn = sgd,
        *,
        batch_size: int = 32,
        interval_steps: int | None = None,
        horizon: int = 20,
        held_back: float = 0.2,
        lr_bounds: tuple[float, float] = (1e-6, 1.0),
        name: str = "torch",
        device: str | torch.device = "cpu",
    ) -> None:
        self._problem = Problem.of(
            model_fn,
            data,
            loss,
            optimizer,
            batch_size=batch_size,
            interval_steps=interval_steps,
            horizon=horizon,
            held_back=held_back,
            lr_bounds=lr_bounds,
            name=name,
            device=device,
        )
        self.spec = self._problem.spec
        self._begin(0)

    def _begin(self, seed: int) -> None:
        self._seed, self._steps = seed, 0
        self._model = self._problem.made(seed)
        self._optimizer = self._problem.optimizer_fn(self._model.parameters())
        self._layers = _tensors.layers(self._optimizer)

    def reset(self, seed: int) -> Measurement:
        """Begin anew, and measure the untrained network on the first batch."""
        self._begin(seed)
        with seeded(seed, "probe", 0, self._problem.device):
            loss = self._gradient(self._problem.batches(seed, 0, 1)[0])
        return self._measured([loss], [_tensors.gradient_sq(self._layers, self._optimizer)])

    def advance(self, hyperparameters: Hyperparameters) -> Measurement:
        """Train one interval."""
        for group in self._optimizer.param_groups:
            group["lr"] = hyperparameters.lr
        losses: list[Tensor] = []
        samples: list[Tensor] = []
        steps = self.spec.interval_steps
        with seeded(self._seed, "steps", self._steps, self._problem.device):
            for i, batch in enumerate(self._problem.batches(self._seed, self._steps, steps)):
                losses.append(self._gradient(batch))
                if _tensors.is_sampled(i, len(samples), steps):
                    samples.append(_tensors.gradient_sq(self._layers, self._optimizer))
                self._optimizer.step()
        self._steps += steps
        return self._measured(losses, samples)

    def evaluate(self) -> float:
        """Loss on the data that choose between policies."""
        return self._loss_on(self._problem.choice)

    def save(self) -> bytes:
        """Weights, optimizer and place in the run."""
        file = io.BytesIO()
        place = [self._seed, self._steps]
        torch.save([self._model.state_dict(), self._optimizer.state_dict(), place], file)
        return file.getvalue()

    def load(self, state: bytes) -> None:
        """Put back what `save` gave."""
        model, optimizer, (seed, steps) = torch.load(
            io.BytesIO(state), map_location=self._problem.device, weights_only=True
        )
        if seed != self._seed:
            self._begin(seed)
        self._steps = steps
        self._model.load_state_dict(model)
        self._optimizer.load_state_dict(optimizer)

    def _gradient(self, batch: Tensor) -> Tensor:
        """The loss of a batch, whose gradient is left in the parameters."""
        x, y = self._problem.train
        self._optimizer.zero_grad()
        loss = self._problem.loss(self._model(x[batch]), y[batch])
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _loss_on(self, examples: Examples) -> float:
        self._model.eval()
        with torch.no_grad():
            loss = self._problem.loss(self._model(examples[0]), examples[1]).item()
        self._model.train()
        return loss

    def _measured(self, losses: list[Tensor], samples: list[Tensor]) -> Measurement:
        rows: Any = torch.stack(samples)[:, :-1].tolist()
        return {
            "val_loss": self._loss_on(self._problem.val),
            "losses": torch.stack(losses).tolist(),
            "grad_sq": rows,
            "weight_norms": _tensors.weight_norms(self._layers),
        }
