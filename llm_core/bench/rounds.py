"""The measurements themselves: every contender does the same thing in turn, round after round."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from llm_core.bench.contender import Contender, Recipe
from llm_core.bench.measure import Watch
from llm_core.bench.text import Prompts

Series = dict[str, list[float]]  # values by contender, one a round
Say = Callable[[str], None]
_WARM_TOKENS = 4
_ADAPTER_TURNS = 8  # a round


@dataclass
class Setting:
    """What all measurements of one run share."""

    prompts: Prompts
    rounds: int
    say: Say
    watch: Watch = field(default_factory=Watch)

    def turns(self, running: Sequence[Contender]) -> Iterator[tuple[int, Contender]]:
        """Every contender once a round, each round begun by the next one."""
        for number in range(self.rounds):
            first = number % len(running)
            for contender in [*running[first:], *running[:first]]:
                self.watch.start([one.process_id for one in running])
                yield number, contender
                self.watch.stop([one.process_id for one in running])


@contextmanager
def started(recipes: Sequence[Recipe], say: Say) -> Iterator[list[Contender]]:
    """Start contenders one after another, their models loaded."""
    with ExitStack() as stack:
        running = []
        for recipe in recipes:
            say(f"load {recipe.name}")
            contender = stack.enter_context(Contender(recipe))
            contender.load()
            running.append(contender)
        yield running


def speeds(
    setting: Setting, running: Sequence[Contender], length: int, generate: int
) -> dict[str, Series]:
    """Greedy replies of `generate` tokens after prompts of `length` tokens.

    Returns `first` (seconds to the first token), `prefill` (prompt tokens a second until then)
    and `decode` (tokens a second after it).
    """
    found: dict[str, Series] = {
        what: {one.name: [] for one in running} for what in ("first", "prefill", "decode")
    }
    for contender in running:
        contender.ask("speed", prompt=setting.prompts.next(length), generate=_WARM_TOKENS)
    prompts = [setting.prompts.next(length) for _ in range(setting.rounds)]
    for number, contender in setting.turns(running):
        setting.say(f"round {number + 1}: {length} tokens of prompt, {contender.name}")
        reply = contender.ask("speed", prompt=prompts[number], generate=generate)
        found["first"][contender.name].append(reply["first"])
        found["prefill"][contender.name].append(length / reply["first"])
        found["decode"][contender.name].append((generate - 1) / reply["rest"])
    return found


def shared_prefix(
    setting: Setting, running: Sequence[Contender], shared: int, tail: int
) -> dict[str, Series]:
    """Seconds to the first token of prompts that share `shared` tokens: `cold` and `warm`."""
    found: dict[str, Series] = {
        what: {one.name: [] for one in running} for what in ("cold", "warm")
    }
    prompts = [setting.prompts.next(shared + 2 * tail) for _ in range(setting.rounds)]
    for number, contender in setting.turns(running):
        setting.say(f"round {number + 1}: shared prefix, {contender.name}")
        prompt = prompts[number]
        reply = contender.ask(
            "prefix",
            shared=prompt[:shared],
            tail=prompt[shared : shared + tail],
            other=prompt[shared + tail :],
        )
        for what, series in found.items():
            series[contender.name].append(reply[what])
    return found


def adapters(setting: Setting, ours: Contender, folder: Path, length: int, generate: int) -> Series:
    """Decoded tokens a second, `bare` and with an `adapter`; the median of short turns a round.

    The machine's memory changes its pace within a second, so the turns are a fraction of one.
    """
    found: Series = {"bare": [], "adapter": []}
    chosen = {"bare": None, "adapter": str(folder)}
    for path in chosen.values():
        prompt = setting.prompts.next(length)
        ours.ask("speed", prompt=prompt, generate=_WARM_TOKENS, adapter=path)
    for number in range(setting.rounds):
        setting.say(f"round {number + 1}: bare weights and an adapter by turns")
        turns: Series = {what: [] for what in chosen}
        setting.watch.start([ours.process_id])
        for turn in range(_ADAPTER_TURNS):
            prompt = setting.prompts.next(length)
            for what in sorted(chosen, reverse=bool(turn % 2)):
                reply = ours.ask("speed", prompt=prompt, generate=generate, adapter=chosen[what])
                turns[what].append((generate - 1) / reply["rest"])
        setting.watch.stop([ours.process_id])
        for what, values in turns.items():
            found[what].append(median(values))
    return found


def queued(setting: Setting, ours: Contender, requests: int, length: int, generate: int) -> Series:
    """Seconds for some requests `in_turn`, and for the same asked for `at_once`."""
    found: Series = {"in_turn": [], "at_once": []}
    for number in range(setting.rounds):
        setting.say(f"round {number + 1}: {requests} requests at once and one after another")
        prompts = [setting.prompts.next(length) for _ in range(requests)]
        setting.watch.start([ours.process_id])
        reply = ours.ask(
            "queue", prompts=prompts, generate=generate, at_once_first=bool(number % 2)
        )
        setting.watch.stop([ours.process_id])
        for what, series in found.items():
            series.append(reply[what])
    return found


def fresh(
    setting: Setting, recipes: Sequence[Recipe], length: int, generate: int
) -> dict[str, Series]:
    """New processes: `ready` and `token`, seconds from start to a loaded model and to the first
    token of a short prompt, and `memory`, the peak resident bytes after a whole reply."""
    found: dict[str, Series] = {
        what: {recipe.name: [] for recipe in recipes} for what in ("ready", "token", "memory")
    }
    prompt = setting.prompts.next(length)
    for recipe in recipes:
        with Contender(recipe) as contender:
            contender.load()  # reads every file once, and makes what is made on first use
    for number in range(setting.rounds):
        for recipe in recipes:
            setting.say(f"round {number + 1}: a new process, {recipe.name}")
            for what, value in _one_process(setting, recipe, prompt, generate).items():
                found[what][recipe.name].append(value)
    return found


def _one_process(
    setting: Setting, recipe: Recipe, prompt: list[int], generate: int
) -> dict[str, float]:
    with Contender(recipe) as contender:
        setting.watch.start([contender.process_id])
        contender.load()
        ready = contender.age
        contender.ask("speed", prompt=prompt[:16], generate=1)
        token = contender.age
        setting.watch.stop([contender.process_id])
        contender.ask("speed", prompt=prompt, generate=generate)
        memory = contender.ask("memory")["bytes"]
    return {"ready": ready, "token": token, "memory": memory or float("nan")}


def embeddings(
    setting: Setting, running: Sequence[Contender], texts: Sequence[str], scratch: Path
) -> tuple[Series, dict[str, float]]:
    """Texts a second, and the lowest cosine of each contender's vectors to the first one's."""
    found: Series = {one.name: [] for one in running}
    vectors: dict[str, Any] = {}
    for index, contender in enumerate(running):
        file = scratch / f"vectors-{index}.npy"
        contender.ask("embed", texts=list(texts), out=str(file))  # also warms up
        vectors[contender.name] = np.load(file)
    for number, contender in setting.turns(running):
        setting.say(f"round {number + 1}: {len(texts)} texts, {contender.name}")
        seconds = contender.ask("embed", texts=list(texts))["seconds"]
        found[contender.name].append(len(texts) / seconds)
    return found, _cosines(vectors, running[0].name)


def _cosines(vectors: Mapping[str, Any], reference: str) -> dict[str, float]:
    """The lowest row-by-row cosine of each (N, D) to the reference's, which are all of length 1."""
    base = vectors[reference].astype(np.float64)
    return {name: float((array * base).sum(axis=1).min()) for name, array in vectors.items()}


def divergence(
    setting: Setting,
    reference: Contender,
    running: Sequence[Contender],
    scratch: Path,
    windows: int = 8,
    length: int = 256,
) -> dict[str, float]:
    """Mean KL divergence, in nats, of each contender's next-token distribution from `reference`'s.

    Taken over every position of `windows` texts of `length` tokens.
    """
    sums = dict.fromkeys((one.name for one in running), 0.0)
    for number in range(windows):
        setting.say(f"divergence: window {number + 1} of {windows}")
        tokens = setting.prompts.next(length)
        base = _log_probabilities(reference, tokens, scratch)
        for contender in running:
            found = _log_probabilities(contender, tokens, scratch)
            sums[contender.name] += float((np.exp(base) * (base - found)).sum())
    return {name: total / (windows * length) for name, total in sums.items()}


def _log_probabilities(contender: Contender, tokens: list[int], scratch: Path) -> Any:
    """Natural-log probabilities (T, V) in float64."""
    file = scratch / "logits.npy"
    contender.ask("logits", tokens=tokens, out=str(file))
    logits = np.load(file).astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
