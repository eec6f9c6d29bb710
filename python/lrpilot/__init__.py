"""Learning-rate schedules learned by reinforcement learning.

`lrpilot.torch.LearnedLR` runs a frozen policy in a PyTorch training loop; `learn` learns one on a task of your own;
`lrpilot.gym` has the environments for other people's agents. This module imports nothing but the native module, in
milliseconds; PyTorch and Gymnasium are imported by the modules that bear their names.
"""

from lrpilot._native import ConfigError, DataError, Hyperparameters, __version__
from lrpilot._task import LearnedPolicy, Measurement, Task, TaskSpec, VectorTask, learn

__all__ = [
    "ConfigError",
    "DataError",
    "Hyperparameters",
    "LearnedPolicy",
    "Measurement",
    "Task",
    "TaskSpec",
    "VectorTask",
    "__version__",
    "learn",
]
