"""One text written by the engine, free or under a guide, as parts with their log-probabilities."""

from collections.abc import Generator, Sequence
from dataclasses import fields

from llm_core.constrain import Guide
from llm_core.decode import Bias, Step
from llm_core.engine import Engine
from llm_core.options import CallOptions
from llm_core.parts import TextPart, TokenLogprob, Usage
from llm_core.sampling import Sampling


class Writer:
    """Writes texts with one engine, within `window` tokens of prompt and reply together."""

    def __init__(self, engine: Engine, window: int | None = None) -> None:
        self.engine = engine
        self.window = min(engine.window, window or engine.window)

    def write(
        self,
        prompt: Sequence[int],
        options: CallOptions,
        usage: Usage,
        guide: Guide | None = None,
        bias: Bias | None = None,
        max_tokens: int | None = None,
    ) -> Generator[TextPart, None, str]:
        """Yield one part a token; returns the engine's reason for ending.

        `usage` is filled in as tokens are read and written; `max_tokens` stands in for that of
        the options. Raises ContextBudgetError and GenerationCancelledError.
        """
        engine = self.engine
        limit = max_tokens or options.max_tokens
        engine.check_budget(len(prompt), limit, self.window)
        steps = engine.generate(
            prompt,
            max_tokens=limit,
            sampling=sampling_of(options),
            stop_ids=engine.tokenizer.end_ids,
            guide=guide,
            logits_bias=bias,
            cancel=options.cancel,
            deterministic=options.deterministic,
            adapter=engine.adapter(options.adapter),
            logprobs=options.top_logprobs if options.logprobs else None,
            guard_loops=options.repetition_guard and guide is None,
        )
        usage.prompt += len(prompt)
        text = engine.tokenizer.stream()
        try:
            while True:
                try:
                    step = next(steps)
                except StopIteration as end:
                    return str(end.value)
                usage.reply += 1
                yield TextPart(text.feed(step.token), self._logprobs(step, options))
        finally:
            steps.close()

    def score(
        self, sequences: Sequence[tuple[list[int], int]], options: CallOptions
    ) -> list[float]:
        """Summed log-probabilities of the last n tokens of each (tokens, n)."""
        for tokens, _ in sequences:
            self.engine.check_budget(len(tokens), 0, self.window)
        return self.engine.score_sequences(
            sequences,
            deterministic=options.deterministic,
            cancel=options.cancel,
            adapter=self.engine.adapter(options.adapter),
        )

    def _logprobs(self, step: Step, options: CallOptions) -> tuple[TokenLogprob, ...]:
        if not options.logprobs:
            return ()
        pieces = self.engine.tokenizer.pieces
        top = tuple((pieces[token], value) for token, value in step.top)
        return (TokenLogprob(pieces[step.token], step.logprob, top),)


def sampling_of(options: CallOptions) -> Sampling:
    """How the engine picks tokens under the options of a call."""
    return Sampling(**{field.name: getattr(options, field.name) for field in fields(Sampling)})
