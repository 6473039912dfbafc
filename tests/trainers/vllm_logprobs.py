"""What our vLLM engine makes of a folder's weights: `python -m tests.trainers.vllm_logprobs MODEL IDS OUT`.

In a process of its own, because vLLM changes the environment that it is imported in.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from evaluators.engine import EngineSettings
from evaluators.engines.vllm_engine import load


def main() -> None:
    model, prompts, out = sys.argv[1], json.loads(sys.argv[2]), Path(sys.argv[3])
    engine = load(EngineSettings(model, None, {"max_logprobs": 20}, 0))
    from vllm import SamplingParams

    asked = [{"prompt_token_ids": ids} for ids in prompts]
    answers = engine._llm.generate(asked, SamplingParams(max_tokens=1, prompt_logprobs=20, temperature=0.0))
    found = [
        [{str(token): one.logprob for token, one in place.items()} for place in answer.prompt_logprobs[1:]]
        for answer in answers
    ]
    out.write_text(json.dumps(found))
    engine.close()


if __name__ == "__main__":
    main()
