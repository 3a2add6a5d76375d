"""Policy learning on many devices, simulated: what waits for what when models, devices and staleness grow.

Trainers and sampling servers are processes of a discrete-event simulation (SimPy).  A server decodes all
sequences that it holds together: a token of each takes the longer of reading the weights and of the
arithmetic.  Lengths of responses are log-normal, so that a batch has a tail.  Trainers wait for
`prompts` whole groups and make a version of the policy; with `staleness` s a group is begun when it will be
learned from at most s versions later, without it (0) after the update.  Servers go on with new weights in
the middle of a response.  The batch is the same for any number of devices.

A step's time comes from operations and bytes over the rates of a device: `CPU` has those of two cores as
measured (docs/benchmarks.md), `H100` NVIDIA's published peaks times shares that are assumed and can be given
(`--mfu`, `--decode-share`).  For each number of devices the best division among trainers and servers is
taken.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import simpy

from tests.benchmarks.common import parser, report, say, versions

CHUNK = 16  # tokens that a server decodes between two looks at its queue
BYTES = 2  # of a weight, bfloat16
ADAPTERS = 0.01  # of the weights, what LoRA trains and sends


@dataclass(frozen=True)
class Device:
    """Rates that are reached, not peaks; bytes and operations a second, seconds."""

    name: str
    train: float  # operations of an update
    decode: float  # operations of decoding
    read: float  # bytes of weights that decoding reads
    send: float  # bytes of weights to a server
    overhead: float  # of a decoding step
    memory: float  # bytes
    together: int  # devices that share a model's weights without loss: a node
    slots: int  # sequences that a server decodes at once


CPU = Device("two cores", 0.69e12, 0.227e12, 40e9, 1e9, 0.0, 20e9, 1, 32)
H100 = Device("H100", 0.4 * 989e12, 0.4 * 989e12, 0.6 * 3.35e12, 25e9, 0.003, 80e9, 8, 128)


@dataclass(frozen=True)
class Plan:
    """A run of policy learning and the devices it has."""

    parameters: float
    trainers: int
    servers: int  # devices; 0: trainers and servers are the same, one after the other
    staleness: int = 0
    prompts: int = 256
    samples: int = 8
    tokens: float = 512.0  # mean length of a response
    spread: float = 0.8  # of the logarithm of lengths
    budget: int = 4096  # tokens at the most
    prompt_tokens: int = 256
    epochs: int = 1
    full: bool = False  # every weight instead of adapters
    seed: int = 0


@dataclass
class Outcome:
    """Seconds a step, and what devices did; shares of the time."""

    seconds: float = 0.0
    tokens_a_second: float = 0.0
    training: float = 0.0
    sampling: float = 0.0
    sending: float = 0.0
    staleness: float = 0.0
    worst: int = 0


@dataclass
class _Sequence:
    group: _Group
    left: int


@dataclass
class _Group:
    step: int  # that learns from it
    version: int  # of the policy that began it
    open: int
    tokens: int = 0


@dataclass
class _World:
    plan: Plan
    device: Device
    steps: int
    env: simpy.Environment = field(default_factory=simpy.Environment)
    version: int = 0
    begun: int = 0
    busy: dict[str, float] = field(default_factory=lambda: {"training": 0.0, "sampling": 0.0, "sending": 0.0})
    ages: list[int] = field(default_factory=list)
    learned: int = 0

    def __post_init__(self) -> None:
        self.draw = random.Random(self.plan.seed)
        self.finished: defaultdict[int, simpy.Store] = defaultdict(partial(simpy.Store, self.env))  # by step
        self.wanted = simpy.Store(self.env)


def replica(plan: Plan, device: Device) -> int:
    """Devices of one server: as few as hold the weights and as much again for keys and values."""
    needed = math.ceil(2 * BYTES * plan.parameters / device.memory)
    return min(1 << (needed - 1).bit_length(), max(1, plan.servers or plan.trainers))


def training_bytes(plan: Plan) -> float:
    """Weights, and of what is trained gradients, float32 masters and Adam's moments; without activations."""
    return plan.parameters * (BYTES + 14 * (1.0 if plan.full else ADAPTERS))


def fits(plan: Plan, device: Device) -> bool:
    """Whether trainers and servers hold their weights (half a device is left for activations)."""
    serving = plan.servers or plan.trainers
    return (
        training_bytes(plan) <= 0.5 * device.memory * plan.trainers
        and BYTES * plan.parameters * 1.25 <= device.memory * serving
    )


def update_seconds(plan: Plan, device: Device, tokens: float) -> float:
    """Forward, backward and the reference policy's forward pass; critic and optimiser are left out."""
    passes = (6 if plan.full else 4) * plan.epochs + 2
    # beyond a node gradients and weights cross the network: a tenth for each doubling
    across = 1 + 0.1 * max(0.0, math.log2(plan.trainers / device.together)) if plan.full else 1.0
    return passes * plan.parameters * tokens * across / (device.train * plan.trainers)


def decode_seconds(plan: Plan, device: Device, sequences: int, devices: int) -> float:
    """One token of each sequence, and the share of reading their prompts."""
    reading = BYTES * plan.parameters / (device.read * devices)
    reads_prompt = 1 + plan.prompt_tokens / plan.samples / plan.tokens
    arithmetic = 2 * plan.parameters * sequences * reads_prompt / (device.decode * devices)
    return max(reading, arithmetic) + device.overhead


def simulate(plan: Plan, device: Device, steps: int = 6) -> Outcome:
    """Some steps after those that fill the pipeline."""
    world = _World(plan, device, steps)
    size = replica(plan, device)
    count = max(1, (plan.servers or plan.trainers) // size)
    for _ in range(count):
        world.env.process(_server(world, size))
    _begin(world)
    warm = plan.staleness + 2
    trainer = world.env.process(_trainer(world, warm))
    began: float = world.env.run(until=trainer)
    seconds = (world.env.now - began) / steps
    total = world.env.now - began
    return Outcome(
        seconds,
        world.learned / total,
        world.busy["training"] / total,
        world.busy["sampling"] / total / count,
        world.busy["sending"] / total,
        sum(world.ages) / len(world.ages),
        max(world.ages),
    )


def _begin(world: _World) -> None:
    """Ask for the groups that may be begun now."""
    plan = world.plan
    while world.begun < (world.version + 1 + plan.staleness) * plan.prompts:
        group = _Group(world.begun // plan.prompts, world.version, plan.samples)
        world.begun += 1
        middle = math.log(plan.tokens) - plan.spread**2 / 2
        for _ in range(plan.samples):
            length = min(plan.budget, max(1, round(world.draw.lognormvariate(middle, plan.spread))))
            group.tokens += length + plan.prompt_tokens
            world.wanted.put(_Sequence(group, length))


def _server(world: _World, devices: int) -> Iterator[simpy.Event]:
    held: list[_Sequence] = []
    while True:
        while len(held) < world.device.slots and world.wanted.items:
            held.append((yield world.wanted.get()))
        if not held:
            held.append((yield world.wanted.get()))
            continue
        tokens = min(CHUNK, min(one.left for one in held))
        seconds = tokens * decode_seconds(world.plan, world.device, len(held), devices)
        yield world.env.timeout(seconds)
        world.busy["sampling"] += seconds
        for one in held:
            one.left -= tokens
            if one.left <= 0:
                one.group.open -= 1
                if not one.group.open:
                    world.finished[one.group.step].put(one.group)
        held = [one for one in held if one.left > 0]


def _trainer(world: _World, warm: int) -> Iterator[simpy.Event]:
    """Learn from groups as they come; returns when the steps that count began."""
    plan, device, began = world.plan, world.device, 0.0
    for step in range(warm + world.steps):
        if step == warm:
            began, world.learned, world.ages = world.env.now, 0, []
            world.busy = dict.fromkeys(world.busy, 0.0)
        groups = []
        for _ in range(plan.prompts):
            groups.append((yield world.finished[step].get()))
        world.ages += [world.version - group.version for group in groups]
        tokens = sum(group.tokens for group in groups)
        world.learned += tokens
        training = update_seconds(plan, device, tokens)
        sent = BYTES * plan.parameters * (1.0 if plan.full else ADAPTERS)
        sending = sent / (device.send * replica(plan, device)) if plan.servers else 0.0
        yield world.env.timeout(training + sending)
        world.busy["training"] += training
        world.busy["sending"] += sending
        world.version += 1
        _begin(world)
    return began


def best(plan: Plan, device: Device, devices: int) -> tuple[Plan, Outcome] | None:
    """The quickest division of so many devices; None where the model fits none."""
    found: list[tuple[Plan, Outcome]] = []
    shares = {max(1, devices * n // 8) for n in range(1, 8)} if plan.staleness else {devices}
    for trainers in sorted(shares):
        tried = replace(plan, trainers=trainers, servers=devices - trainers if plan.staleness else 0)
        if (not plan.staleness or tried.servers) and fits(tried, device):
            found.append((tried, simulate(tried, device)))
    return min(found, key=lambda one: one[1].seconds, default=None)


def main() -> None:
    """A row for each model, number of devices and staleness."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--mfu", type=float, default=0.4, help="share of the peak that an update reaches")
    arguments.add_argument("--decode-share", type=float, default=0.6, help="of the memory's rate")
    arguments.add_argument("--full", action="store_true", help="every weight instead of adapters")
    options = arguments.parse_args()
    device = replace(H100, train=options.mfu * 989e12, read=options.decode_share * 3.35e12)
    rows = []
    for parameters in (1.5e9, 8e9, 70e9):
        for devices in (1, 8, 64, 512, 2048):
            for staleness in (0, 1, 4):
                plan = Plan(parameters, devices, 0, staleness, full=options.full)
                quickest = best(plan, device, devices)
                if quickest is None:
                    continue
                chosen, outcome = quickest
                rows.append(
                    {
                        "parameters": parameters,
                        "devices": devices,
                        "trainers": chosen.trainers,
                        "servers": chosen.servers,
                        "staleness": staleness,
                        **{name: round(value, 3) for name, value in vars(outcome).items()},
                    }
                )
                say(str(rows[-1]))
    report("scale", rows=rows, ratio=None, versions=versions("simpy"))


if __name__ == "__main__":
    main()
