"""`manager data`: brings benchmarks and training data onto this machine's disk, and checks what is there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from manager.cli.options import DEFAULT_STORE, Json, StoreOption, print_json, with_rows
from manager.errors import UserError
from manager.store import Store

app = typer.Typer(help="Fetch and check data; compute nodes have no network.", no_args_is_help=True)

DataDir = Annotated[
    Path, typer.Option("--to", envvar="MANAGER_DATA_DIR", help="The data folder; $MANAGER_DATA_DIR if left out.")
]


@app.command()
def fetch(
    to: DataDir,
    suite: Annotated[
        str | None, typer.Option(help="A suite, or benchmarks separated by commas; all16 if left out.")
    ] = None,
    domain: Annotated[
        list[str] | None, typer.Option(help="A domain of the catalogue: what a training on it reads. Repeatable.")
    ] = None,
    revision: Annotated[
        list[str] | None,
        typer.Option(metavar="HUB=COMMIT", help="Take this data set at another commit than is pinned. Repeatable."),
    ] = None,
) -> None:
    """Fetch what the benchmarks of a suite, or trainings on a domain, need from the hub, with checksums.

    A domain brings its own data sets and the benchmarks that repeated questions are taken out by, and nothing else
    unless --suite says so. Run it on a login node.
    """
    from evaluators.fetch import fetch as bring

    names = list(benchmarks_of(suite or "all16")) if suite or not domain else []
    sources = []
    for one in domain or ():
        needed, found = training_sources(one)
        names += [name for name in needed if name not in names]
        sources += found
    report = bring(names, to, more=sources, revisions=_revisions(revision or ()), tell=print)
    for name in report.by_hand:
        print(f"{name}: on no hub; docs/benchmarks.md says where it comes from")
    if report.failed:
        path, why = next(iter(report.failed.items()))  # all of them were told above
        raise UserError(
            f"{len(report.failed)} files could not be fetched, the first: {path}: {why}; "
            "run the same command again, it keeps what is there"
        )
    print(f"{len(report.fetched)} files fetched, {len(report.kept)} were there")


def _revisions(texts: Sequence[str]) -> dict[str, str]:
    """Hub id -> revision, of HUB=COMMIT."""
    pairs = {hub: revision for hub, _, revision in (text.partition("=") for text in texts)}
    for hub, revision in pairs.items():
        if not hub or not revision:
            raise UserError(f"--revision {hub}: write HUB=COMMIT, for example openai/gsm8k=main")
    return pairs


@app.command()
def check(
    folder: Annotated[
        Path, typer.Argument(envvar="MANAGER_DATA_DIR", metavar="DIR", help="$MANAGER_DATA_DIR if left out.")
    ],
) -> None:
    """Compare every file of the data folder with its checksum."""
    from evaluators.fetch import check as look

    problems = look(folder)
    if problems:
        raise UserError(f"{folder}: {'; '.join(problems)}; `manager data fetch` brings them again")
    print(f"{folder}: every file is as its checksum says")


@app.command()
def prepare(
    domain: Annotated[str, typer.Argument(help="A domain of the catalogue.")],
    model: Annotated[
        str | None, typer.Option(help="A model of the catalogue or its folder: the prompts that trainings of it read.")
    ] = None,
    max_prompt_tokens: Annotated[
        int, typer.Option(min=1, help="With --model: longer prompts are left out, as data.max_prompt_tokens says.")
    ] = 1024,
    store: StoreOption = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Make the training prompts of a domain: how many there are, their digest, what is left out and why.

    From $MANAGER_DATA_DIR, else the hub's cache; into $MANAGER_PREPARED_DATA, else STORE/prepared, as the trainers do.
    With --model they are those that trainings by reinforcement read: its tokenizer counts how long a prompt is. Without
    it they are those that rejection sampling reads.
    """
    from manager.run import Failed
    from trainers.prepare import prepare as make

    data = training_data(domain)
    folder, place = os.environ.get("MANAGER_DATA_DIR"), os.environ.get("MANAGER_PREPARED_DATA")
    cache = Path(place) if place else Store.open(store, create=True).root / "prepared"
    try:
        limit = _prompt_limit(model, max_prompt_tokens) if model else None
        made = make(data, cache, Path(folder) if folder else None, limit)
    except Failed as error:
        raise UserError(f"{domain}: {error}") from error
    if json:
        left_out = {source: dict(reasons) for source, reasons in made.left_out.items()}
        print_json({"domain": domain, "rows": made.rows, "digest": made.digest, "left_out": left_out,
                    "path": str(made.path), "repeats": str(made.repeats), "data": data})  # fmt: skip
        return
    print(f"{domain}: {made.rows:,} prompts in {made.path}\ndigest {made.digest}")
    for source, reasons in made.left_out.items():
        told = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
        print(f"  {source}: left out {told or 'nothing'}")
    if data.get("decontaminate"):
        print(f"which prompts repeat which items: {made.repeats}")


def _prompt_limit(model: str, tokens: int) -> Any:
    """The limit that a training of this model keeps, whatever its stage is called."""
    from experiments import catalog
    from manager.sweep.mistakes import unknown
    from trainers.prompt_limit import prompt_limit
    from trainers.training import load_tokenizer

    known = {name: row for name, row in catalog.load().models.items() if "hub" in row}
    if model not in known and not Path(model).is_dir():
        raise UserError(f"--model {model}: no such folder, and {unknown('model', model, known)}")
    row = known.get(model)
    tokenizer = load_tokenizer(row["hub"], row.get("revision")) if row else load_tokenizer(model, None)
    return prompt_limit(tokenizer, tokens)


def training_sources(domain: str) -> tuple[list[str], list[tuple[str, Any, str]]]:
    """What a training on the domain reads: benchmarks, and (name, place, split) of each public data set."""
    from trainers.sources import place_of

    data = training_data(domain)
    names = list(data.get("decontaminate") or ())
    names += [source["benchmark"] for source in data["sources"] if "benchmark" in source]
    public = [source for source in data["sources"] if "hub" in source]
    return names, [(source["hub"], place_of(source), source.get("split", "train")) for source in public]


def training_data(domain: str) -> dict[str, Any]:
    """The config's `data` of a training job on this domain, made by a sweep of that one job."""
    from experiments import catalog
    from manager.sweep import Document, expand
    from manager.sweep.mistakes import Mistakes, unknown
    from manager.sweep.nodes import parse

    known, mistakes = with_rows(catalog.load()), Mistakes()
    if domain not in known.domains:
        raise UserError(f"{domain}: {unknown('domain', domain, known.domains)}")
    model = next(name for name, row in known.models.items() if "hub" in row)  # any will do
    root = parse(f"stages: {{train: {{kind: rl, model: {model}, data: {domain}}}}}", "the domain", mistakes)
    (entry,) = expand(Document(root, "prepare", mistakes), known).jobs
    data: dict[str, Any] = dict(entry.job.config["data"])
    return data


def benchmarks_of(suite: str) -> Sequence[str]:
    """The benchmarks that a suite's name, or names separated by commas, stand for."""
    from experiments import catalog

    known = catalog.load()
    if suite in known.suites:
        return known.suites[suite]
    names = [name.strip() for name in suite.split(",") if name.strip()]
    unknown = [name for name in names if name not in known.benchmarks]
    if unknown or not names:
        raise UserError(
            f"--suite {suite}: {', '.join(unknown) or 'nothing'} is neither a suite ({', '.join(known.suites)}) "
            f"nor a benchmark ({', '.join(known.benchmarks)})"
        )
    return names
