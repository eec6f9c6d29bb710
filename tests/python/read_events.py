"""Prints the scalars of an event folder as TensorBoard itself reads them: {tag: [[wall_time, step, value], …]}."""

import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

events = EventAccumulator(sys.argv[1])
events.Reload()
scalars = {
    tag: [[point.wall_time, point.step, point.value] for point in events.Scalars(tag)]
    for tag in events.Tags()["scalars"]
}
json.dump(scalars, sys.stdout)
