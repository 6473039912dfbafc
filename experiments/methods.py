"""The methods paragraphs of a report, worded for the settings that were used. Pure."""

from __future__ import annotations

from experiments.study import Study
from experiments.transfer import Settings


def methods(study: Study, settings: Settings) -> list[str]:
    """Paragraphs that a reader can put beside the numbers and check them."""
    level = round(100 * settings.level)
    unit = {
        "domain": "the same domain",
        "subdomain": "the same subdomain, or the same domain where none is named",
    }
    weights = {"items": "by their number of items", "benchmarks": "equally"}
    replicate = (
        "the models of the study are taken as a sample of models"
        if study.models_are_replicates
        else "deviations of training runs from the mean of their arm (same base, data, algorithm, reward), "
        "taken from all arms together and not smaller than the arm's own, are drawn and added"
    )
    control = "its training run started from" if settings.control == "parent" else "its chain of runs started from"
    return [
        "Each trained model is compared with the model that "
        f"{control}, on the same items of the same benchmark version under the same sampling conditions. "
        "pass@1 of a benchmark is the mean over items of the mean over an item's samples; samples without a "
        "defined score are left out and counted. The change on a set of benchmarks is the mean of their "
        f"changes weighted {weights[settings.weighting]}; the tables also hold the other weighting. A "
        f"benchmark is in-domain if it has {unit[settings.in_domain]} as the training data.",
        f"Intervals ({level} %) come from a hierarchical bootstrap with {settings.replicates:,} replicates "
        f"(seed {settings.seed}): items are drawn with replacement within each benchmark, the same draw for "
        f"all models, and {replicate}. They are percentile intervals, "
        "expanded by the ratio of the t quantile (Satterthwaite degrees of freedom over items and runs) to "
        "the normal one. p values are two-sided t tests with the linearised standard error and the same "
        "degrees of freedom, adjusted within each family (cells, benchmarks, arms, averages) by Holm; the "
        "tables also hold Benjamini-Hochberg. Intervals are not adjusted.",
        "Absence of a change is claimed only by two one-sided tests against "
        f"±{settings.margin_points:g} points at level {1 - settings.level:.2g}, adjusted by Holm. The detectable "
        f"change has {round(100 * settings.power)} % power at the present size.",
        "Odds ratios: common odds ratio over benchmarks by Mantel and Haenszel with the "
        "Robins-Breslow-Greenland interval, Cochran-Mantel-Haenszel test with and without continuity "
        "correction, homogeneity by Breslow and Day; these take samples as independent. Paired odds ratios: "
        "conditional logistic regression with each item a stratum, standard errors clustered by item; exact "
        "McNemar test on items that became better or worse. Runs of an arm are pooled in both.",
    ]
