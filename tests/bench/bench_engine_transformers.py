"""Generated tokens per second: our transformers engine against transformers' own `generate`, in turns.

    python -m tests.bench.bench_engine_transformers [--rounds 4] [--rows 256] [--tokens 64]

The same tiny model, prompts of one length, one batch, sampling at temperature 1. Ours draws every row from
its own seed, so that a row does not depend on its batch; `generate` has one stream for all.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")


def main() -> None:
    import torch

    from evaluators.engine import EngineSettings, Request, load
    from tests.evaluators.tiny import make_model

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--tokens", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder) / "model", context=256)
        engine = load("transformers", EngineSettings(str(model), options={"batch_size": options.rows}))
        prompts = [engine.plain(f"{number:04d}+7=") for number in range(options.rows)]
        ids = torch.tensor([list(prompt.tokens or ()) for prompt in prompts])
        total = [0, 0.0, 0, 0.0]
        for number in range(options.rounds + 1):
            requests = [
                Request(("b", str(row), 0), prompt, number * 1000 + row, options.tokens, 1.0)
                for row, prompt in enumerate(prompts)
            ]
            began, cpu = time.perf_counter(), time.process_time()
            ours = sum(done.completion_tokens for done in engine.generate(iter(requests), lambda: False))
            ours_s, ours_cpu = time.perf_counter() - began, time.process_time() - cpu
            began, cpu = time.perf_counter(), time.process_time()
            answers = engine._model.generate(  # type: ignore[attr-defined]
                ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=1.0, top_k=0,
                max_new_tokens=options.tokens,
            )[:, ids.shape[1] :]  # fmt: skip
            theirs_s, theirs_cpu = time.perf_counter() - began, time.process_time() - cpu
            padding = engine._model.config.pad_token_id  # type: ignore[attr-defined]
            theirs = int((answers != padding).sum())
            if number:  # the first round warms up
                total = [a + b for a, b in zip(total, (ours, ours_cpu, theirs, theirs_cpu), strict=True)]
                print(
                    f"round {number}: engine {ours / ours_s:,.0f} tokens/s, generate {theirs / theirs_s:,.0f}, "
                    f"ratio {ours / ours_s / (theirs / theirs_s):.2f}"
                )
    ours_rate, theirs_rate = total[0] / total[1], total[2] / total[3]
    print(
        f"all rounds, by processor time: engine {ours_rate:,.0f}, generate {theirs_rate:,.0f} tokens a second, "
        f"ratio {ours_rate / theirs_rate:.2f}"
    )


if __name__ == "__main__":
    main()
