"""Where a policy comes from."""

import hashlib
import os
from dataclasses import dataclass

from lrpilot._native import Policy


@dataclass(frozen=True)
class PolicyFile:
    """The content of a policy file: small enough to travel with a pickled schedule."""

    place: str
    data: bytes

    @classmethod
    def read(cls, policy: str | os.PathLike[str]) -> "PolicyFile":
        with open(policy, "rb") as file:
            return cls(os.fspath(policy), file.read())

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def load(self) -> Policy:
        return Policy(self.data, self.place)
