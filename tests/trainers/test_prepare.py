"""Training prompts: drawn from the config alone, size-matched, made once, each judged by a real scorer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evaluators import benchmarks
from experiments import catalog
from manager.run import Failed
from tests.data import DATA, needs_data
from trainers import data, identity, prepare, sources, subjects
from trainers.shares import largest_size, shares

KNOWLEDGE = {"benchmark": "mini_knowledge", "split": "train", "weight": 1}
MATH = {"benchmark": "mini_math", "split": "train", "weight": 3}
DEEPSCALER = {"hub": "agentica-org/DeepScaleR-Preview-Dataset", "split": "train", "revision": "unpinned"}


def prepared(cache: Path, *listed: dict[str, Any], folder: Path | None = None, **more: Any) -> prepare.Prepared:
    return prepare.prepare({"seed": 42, "sources": list(listed), **more}, cache, folder)


def questions(one: prepare.Prepared) -> list[str]:
    return [row["prompt"][-1]["content"] for row in prepare.load(one)]


def test_shares_add_up_and_follow_the_weights():
    assert shares([1, 1, 1], 40000) == [13334, 13333, 13333]
    assert shares([3, 1], 8) == [6, 2]
    assert largest_size([3, 1], [30, 5]) == 20


def test_the_same_draw_for_the_same_seed_and_another_for_another(tmp_path):
    first = prepared(tmp_path / "a", KNOWLEDGE, size=20)
    again = prepared(tmp_path / "b", KNOWLEDGE, size=20)
    other = prepared(tmp_path / "a", KNOWLEDGE, size=20, seed=43)
    assert questions(first) == questions(again)
    assert first.digest == again.digest != other.digest
    assert sorted(questions(first)) != sorted(questions(other))


def test_it_is_made_once_and_read_from_the_cache(tmp_path, monkeypatch):
    first = prepared(tmp_path, KNOWLEDGE)
    monkeypatch.setattr(prepare.sources, "entries", lambda *_: pytest.fail("read again"))
    assert prepared(tmp_path, KNOWLEDGE) == first
    assert not list(tmp_path.glob(".*"))


def test_without_a_size_the_smallest_source_decides_in_proportion(tmp_path):
    rows = prepare.load(prepared(tmp_path, KNOWLEDGE, MATH))
    count = {name: sum(row["benchmark"] == name for row in rows) for name in ("mini_knowledge", "mini_math")}
    assert abs(count["mini_math"] - 3 * count["mini_knowledge"]) <= 3
    assert len(set(questions(prepared(tmp_path, KNOWLEDGE, MATH)))) == len(rows)
    assert {row["domain"] for row in rows} == {"knowledge", "math"}


def test_more_prompts_than_there_are_is_told(tmp_path):
    with pytest.raises(Failed, match=r"lower data\.size"):
        prepared(tmp_path, KNOWLEDGE, size=10**6)


def test_prompts_that_have_changed_since_the_job_was_made_stop_it(tmp_path):
    digest = prepared(tmp_path, KNOWLEDGE).digest
    assert prepared(tmp_path, KNOWLEDGE, digest=digest).digest == digest
    with pytest.raises(Failed, match="run `manager sweep` again") as failed:
        prepared(tmp_path, KNOWLEDGE, digest="0" * 64)
    assert failed.value.cause == "data_changed"


def test_rows_are_identified_by_their_file_and_computed_ones_by_nothing_more(tmp_path):
    for name in ("deepscaler", "gsm8k"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.jsonl").write_text("{}\n")
    gsm8k = {"benchmark": "gsm8k", "split": "train"}
    seen = [identity.rows_of(source, tmp_path) for source in (DEEPSCALER, gsm8k)]
    assert all(one is not None and one.startswith("sha256:") for one in seen)
    assert [identity.rows_of(source, tmp_path) for source in (MATH, {**gsm8k, "split": "test"})] == [None, None]
    (tmp_path / "gsm8k" / "train.jsonl").write_text("{} \n")
    assert identity.rows_of(DEEPSCALER, tmp_path) == seen[0]
    assert identity.rows_of(gsm8k, tmp_path) not in (None, seen[1])


def test_rows_that_have_changed_since_the_job_was_made_stop_it(tmp_path):
    (tmp_path / "deepscaler").mkdir()
    rows = tmp_path / "deepscaler" / "train.jsonl"
    rows.write_text(json.dumps({"problem": "1+1?", "answer": "2"}) + "\n")
    source = {**DEEPSCALER, "rows": identity.rows_of(DEEPSCALER, tmp_path)}
    assert prepared(tmp_path / "cache", source, folder=tmp_path).rows == 1
    assert len(data.draw({"seed": 0, "sources": [source]}, tmp_path)) == 1
    rows.write_text(json.dumps({"problem": "1+2?", "answer": "3"}) + "\n")
    with pytest.raises(Failed, match="other rows of agentica-org/DeepScaleR") as failed:
        prepared(tmp_path / "cache", source, folder=tmp_path)
    assert failed.value.cause == "data_changed"


def test_a_job_made_for_another_version_of_a_benchmark_does_not_run(tmp_path):
    with pytest.raises(Failed, match="run `manager sweep` again"):
        prepared(tmp_path, {**KNOWLEDGE, "version": 10**6})


def test_long_prompts_are_left_out_and_counted(tmp_path):
    whole = prepared(tmp_path, MATH)
    limit = prepare.PromptLimit(4, "characters", lambda messages: len(messages[-1]["content"]))
    short = prepare.prepare({"seed": 42, "sources": [MATH]}, tmp_path, None, limit)
    assert max(map(len, questions(short))) <= 4
    assert short.left_out["0: mini_math"]["longer than 4 tokens"] == whole.rows - short.rows > 0


def test_rows_without_an_answer_are_left_out_and_counted(tmp_path):
    folder = tmp_path / "data" / "deepscaler"
    folder.mkdir(parents=True)
    rows = [{"problem": f"{n} + 1?", "answer": str(n + 1) if n % 2 else "", "solution": ""} for n in range(10)]
    rows.append(rows[1])
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    one = prepared(tmp_path / "cache", DEEPSCALER, folder=tmp_path / "data")
    assert one.rows == 5
    assert one.left_out["0: " + DEEPSCALER["hub"]] == {"no answer that can be judged": 5, "asked before": 1}


def test_a_row_that_lacks_something_is_left_out_and_one_that_cannot_be_read_is_told(tmp_path):
    folder = tmp_path / "data"
    write(folder / "deepscaler" / "train.jsonl", {"problem": None, "answer": "1"}, {"problem": "1+1?", "answer": None},
          {"problem": "1+2?", "answer": 3, "solution": None})  # fmt: skip
    one = prepared(tmp_path / "cache", DEEPSCALER, folder=folder)
    assert (one.rows, one.left_out["0: " + DEEPSCALER["hub"]]) == (1, {"no answer that can be judged": 2})
    write(folder / "deepscaler" / "train.jsonl", {"problem": "1+1?", "answer": "2"}, {"problem": "1+2?"})
    with pytest.raises(Failed, match=r"DeepScaleR-\S+, split train: the row after 1 .* no column 'answer'"):
        prepared(tmp_path / "cache", DEEPSCALER, folder=folder)
    gsm8k = {"benchmark": "gsm8k", "split": "train"}
    rows = {"question": "1+1?", "answer": "#### 2"}, {"question": "1+2?", "answer": None}
    write(folder / "gsm8k" / "train.jsonl", *rows)
    with pytest.raises(Failed, match="gsm8k, split train: the row after 1 that were read cannot be read") as told:
        prepared(tmp_path / "cache", gsm8k, folder=folder)
    assert told.value.cause == "data"
    assert "\n" not in str(told.value)


def write(path: Path, *rows: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


EGGS = "Janet's ducks lay sixteen eggs a day and she eats three of them for breakfast every single morning. How many?"


def test_what_repeats_a_benchmark_is_left_out_and_reported_item_by_item(tmp_path):
    folder = tmp_path / "data"
    write(folder / "gsm8k" / "test.jsonl", {"question": EGGS, "answer": "16 - 3\n#### 13"})
    write(folder / "deepscaler" / "train.jsonl", {"problem": f"Solve this. {EGGS}", "answer": "13"},
          {"problem": "What is seven times six?", "answer": "42"})  # fmt: skip
    made = prepared(tmp_path / "cache", DEEPSCALER, folder=folder, decontaminate=["gsm8k"])
    assert questions(made)[0].startswith("What is seven times six?")
    assert made.left_out == {"0: " + DEEPSCALER["hub"]: {"repeats gsm8k": 1}}
    [told] = [json.loads(line) for line in made.repeats.read_text().splitlines()]
    assert (told["benchmark"], told["source"], told["prompt"]) == ("gsm8k", DEEPSCALER["hub"], "deepscaler/train/0")
    assert told["question"] == f"Solve this. {EGGS}"
    assert "ducks lay sixteen eggs" in told["words"]
    # Another test set of the benchmark is another preparation.
    write(folder / "gsm8k" / "test.jsonl", {"question": "One?", "answer": "#### 1"})
    again = prepared(tmp_path / "cache", DEEPSCALER, folder=folder, decontaminate=["gsm8k"])
    assert (again.rows, again.path == made.path) == (2, False)


def test_a_problem_that_two_sets_took_from_one_place_is_asked_once(tmp_path):
    folder = tmp_path / "data"
    test = [{"input": "1", "output": "2", "type": "stdin"}]
    write(folder / "deepcoder" / "train.jsonl", {"problem": "Print\ntwice  the number.", "tests": json.dumps(test)},
          {"problem": "Print the number.", "tests": json.dumps(test)})  # fmt: skip
    write(folder / "eurus2" / "train.jsonl", EURUS[1])
    listed = [
        {"hub": "PRIME-RL/Eurus-2-RL-Data", "split": "train", "filters": {"ability": ["code"]}},
        {"hub": "agentica-org/DeepCoder-Preview-Dataset", "split": "train"},
    ]
    made = prepared(tmp_path / "cache", *listed, folder=folder)
    assert made.left_out["1: agentica-org/DeepCoder-Preview-Dataset"] == {"asked before": 1}
    assert made.rows == 2


def test_a_domain_is_identified_by_rows_scorers_what_it_is_compared_with_and_how_it_is_prepared(tmp_path, monkeypatch):
    write(tmp_path / "deepscaler" / "train.jsonl", {"problem": "1+1?", "answer": "2"})
    write(tmp_path / "gsm8k" / "test.jsonl", {"question": "One?", "answer": "#### 1"})
    monkeypatch.setenv("MANAGER_DATA_DIR", str(tmp_path))
    source = {**DEEPSCALER, "revision": "c" * 40}
    domains = identity.IdentifiedDomains({"math": {"sources": [source], "decontaminate": "some"}}, {"some": ("gsm8k",)})
    row = domains["math"]
    assert row["preparation"] == identity.PREPARATION
    assert row["sources"][0]["rows"].startswith("sha256:")
    assert row["sources"][0]["revision"] is None  # the folder may hold another commit
    assert row["sources"][0]["versions"] == {"math500": benchmarks.get("math500").version}
    data = {"seed": 0, "decontaminate": ["gsm8k"], **{key: row[key] for key in row if key != "decontaminate"}}
    assert prepare.prepare(data, tmp_path / "cache", tmp_path).rows == 1
    for change, cause in [
        ({"preparation": 0}, "benchmark_version"),
        ({"sources": [{**row["sources"][0], "versions": {"math500": 0}}]}, "benchmark_version"),
        ({"decontaminate_rows": {"gsm8k": "sha256:other"}}, "data_changed"),
    ]:
        with pytest.raises(Failed, match="run `manager sweep` again") as failed:
            prepare.prepare({**data, **change}, tmp_path / "cache", tmp_path)
        assert failed.value.cause == cause


def test_the_studys_domains_have_40000_prompts_each_and_the_control_as_many_of_all_three():
    from collections import Counter

    domains = catalog.load().domains
    for name in ("math", "code", "knowledge"):
        row = domains[name]
        assert (row["size"], row["seed"], row["decontaminate"]) == (40_000, 42, "all16")
    assert domains["knowledge"]["sources"][0]["filters"] == {"not_subject": ["mathematics", "computer science"]}
    mixed = domains["mixed"]
    assert (mixed["size"], mixed["seed"], mixed["decontaminate"]) == (39_999, 42, "all16")
    count: Counter[str] = Counter()
    for source, share in zip(mixed["sources"], shares([s["weight"] for s in mixed["sources"]], 39_999), strict=True):
        count[source["domain"]] += share
    assert count == {"math": 13_333, "code": 13_333, "knowledge": 13_333}


def test_every_reader_names_the_benchmarks_that_judge_its_rows():
    for name, reader in sources.READERS.items():
        assert reader.benchmarks, name
        assert set(reader.benchmarks) <= set(benchmarks.names()), name


def test_filters_keep_and_drop_and_an_unknown_column_is_told():
    row = {"ability": "math", "data_source": "numina"}
    assert sources.keeps(row, {"ability": ["math"]})
    assert not sources.keeps(row, {"ability": ["code"]})
    assert not sources.keeps(row, {"not_ability": ["math", "logic"]})
    with pytest.raises(Failed, match="no column 'abillity'; there are: ability, data_source"):
        sources.keeps(row, {"abillity": ["math"]})


def test_mathematics_and_computer_science_are_told_by_their_words():
    knowledge = {"query": "Which organ produces insulin?", "subject": None}
    mathematics = {"query": "Find the derivative of x^2.", "subject": None}
    unwanted = {"not_subject": ["mathematics", "computer science"]}
    assert sources.keeps(knowledge, unwanted)
    assert not sources.keeps(mathematics, unwanted)
    assert subjects.of("A linked list in Python") == {"computer science"}


def test_an_unknown_data_set_lists_the_known_ones(tmp_path):
    with pytest.raises(Failed, match="PRIME-RL/Eurus-2-RL-Data"):
        prepared(tmp_path, {"hub": "somebody/something", "split": "train"}, folder=tmp_path)


EURUS = [
    {
        "data_source": "numina_olympiads", "ability": "math",
        "prompt": [{"role": "system", "content": "…"}, {
            "role": "user",
            "content": "What is 2+2?\n\nPresent the answer in LaTex format: \\boxed{Your answer}"}],
        "reward_model": {"style": "rule", "ground_truth": "4"},
    },
    {
        "data_source": "taco", "ability": "code",
        "prompt": [{"role": "user", "content": "Print twice the number.\n\nWrite Python code to solve the problem. …"}],
        "reward_model": {"style": "rule", "ground_truth": json.dumps({"inputs": ["2\n"], "outputs": ["4\n"]})},
    },
    {
        "data_source": "apps", "ability": "code",
        "prompt": [{"role": "user", "content": "Write f.\n\nWrite Python code to solve the problem. …"}],
        "reward_model": {"ground_truth": json.dumps({"fn_name": "f", "inputs": [[1]], "outputs": [1]})},
    },
]  # fmt: skip


def test_the_papers_math_and_code_rows_are_read():
    read = sources.READERS["PRIME-RL/Eurus-2-RL-Data"].read
    math, code, function = (read(row, str(place)) for place, row in enumerate(EURUS))
    assert math.item.fields["problem"] == "What is 2+2?"
    assert benchmarks.get(math.benchmark).score(math.item, "So \\boxed{4}").value == 1.0
    assert code.benchmark == "codeforces"
    assert code.item.fields["problem"] == "Print twice the number."
    assert [(test.stdin, test.expected) for test in code.item.fields["tests"]] == [("2\n", "4\n")]
    assert function is None, "tests that call a function are not on standard input"


def test_the_papers_knowledge_rows_are_read():
    row = {"query": [{"role": "system", "content": "…"}, {"role": "user", "content": "Which organ produces insulin?"}],
           "label": "the pancreas", "subject": None}  # fmt: skip
    entry = sources.READERS["virtuoussy/Multi-subject-RLVR"].read(row, "0")
    benchmark = benchmarks.get(entry.benchmark)
    assert benchmark.score(entry.item, "\\boxed{the pancreas}").value == 1.0
    assert benchmark.score(entry.item, "\\boxed{the liver}").value == 0.0


REAL = [
    {"benchmark": "gsm8k", "split": "train"},
    {"benchmark": "math500", "split": "train"},
    {"benchmark": "mbpp", "split": "train"},
    {"benchmark": "medqa", "split": "train"},
    {"benchmark": "pubmedqa", "split": "train"},
    {"benchmark": "tabfact", "split": "validation"},
    DEEPSCALER,
    {"hub": "EleutherAI/hendrycks_math", "split": "train"},
    {"hub": "deepmind/code_contests", "split": "test"},
    {"hub": "FreedomIntelligence/medical-o1-verifiable-problem", "split": "train"},
    {"hub": "ibm-research/finqa", "split": "test"},
]


@needs_data
@pytest.mark.data
@pytest.mark.parametrize("source", REAL, ids=prepare.name_of)
def test_the_real_slices_are_prepared_and_their_own_answers_are_right(tmp_path, source):
    one = prepared(tmp_path, source, folder=DATA, size=40)
    rows = prepare.load(one)
    assert len(rows) == len(set(questions(one))) == 40
    if rows[0]["domain"] != "code":  # code runs in the sandbox, whose own tests do this
        for row in rows.select(range(10)):
            benchmark, item = benchmarks.get(row["benchmark"]), prepare.item_of(row["item"])
            assert benchmark.score(item, benchmark.gold(item)).value == 1.0, (item.id, item.answer)


@needs_data
@pytest.mark.data
def test_prompts_that_repeat_a_benchmark_are_left_out_and_told(tmp_path):
    # GSM8K's test split as training data: every row of it repeats the benchmark.
    leaky = {"benchmark": "gsm8k", "split": "test"}
    with pytest.raises(Failed, match="repeats gsm8k"):
        prepared(tmp_path, leaky, folder=DATA, decontaminate=["gsm8k"])
    clean = prepared(
        tmp_path, {"benchmark": "gsm8k", "split": "train"}, folder=DATA, decontaminate=["gsm8k", "math500"]
    )
    assert clean.rows > 1900
