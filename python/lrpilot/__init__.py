"""Learning-rate schedules learned by reinforcement learning.

`lrpilot.torch.LearnedLR` runs a frozen policy in a PyTorch training loop. This module imports nothing but the native
module, in milliseconds; PyTorch is imported by `lrpilot.torch`.
"""

from lrpilot._native import ConfigError, DataError, __version__

__all__ = ["ConfigError", "DataError", "__version__"]
