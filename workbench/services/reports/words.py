"""What each figure of a reward model's report means, in a sentence."""

from __future__ import annotations

EXPLAINED: dict[str, tuple[tuple[str, str], ...]] = {
    "overview": (
        (
            "accuracy",
            "Share of the pairs whose better response has the higher score, equal scores one half. A pair "
            "counts by what most annotators say of it; where they tie or split it is left out. The shaded "
            "part of a bar is the 95% interval when prompts are drawn again and again with replacement.",
        ),
        (
            "longer response",
            "How often the response with more characters is the better one, on the same pairs.",
        ),
        (
            "policy that wins",
            "How often the better response is of the policy that won more often on the training pairs; one "
            "half within a policy.",
        ),
        (
            "pairwise",
            "The pairwise preference model that was fitted beside the scores to the same pairs. It compares "
            "two responses at a time and may find that a beats b, b beats c and c beats a.",
        ),
        ("constant", "A scorer that gives everything the same score: one half, and ln 2 = 0.693 log-loss."),
        ("person v. the others", "How often one annotator agrees with most of the others: the ceiling."),
        ("two people", "How often two annotators agree about a pair; 1/2 where one of them says tie."),
        (
            "log-loss",
            "Mean of -ln σ(score of the better - score of the worse). The baselines know how often they were "
            "right in training and put that as their probability.",
        ),
        ("above …", "The model's accuracy less the baseline's on the same pairs, resampled together."),
        ("Kendall τ", "Tau-b of scores and verdicts over the judged pairs of a prompt, mean over prompts."),
    ),
    "calibration": (
        (
            "predicted",
            "Probability that the model gives to the response it prefers, σ(|score difference|), by steps "
            "of 5%.",
        ),
        ("right", "Share of those pairs in which people prefer that response, too."),
        ("mean distance", "Between predicted and right, weighted by pairs: expected calibration error."),
    ),
    "length": (
        (
            "mean of these two",
            "Accuracy if the longer response were as often worse as better: one that only counts characters "
            "gets 1/2.",
        ),
        ("within 10%", "Accuracy where the lengths differ by at most 10%: hardly a length to go by."),
        (
            "correlation",
            "Pearson's, of score and characters, each less the mean of its prompt, over scored responses.",
        ),
        (
            "regression",
            "P(wins) = σ(a·score difference + b·log length ratio), each in standard deviations; intervals "
            "with prompts as clusters, log-losses on these very pairs. What the score is worth once length "
            "is known, and the reverse.",
        ),
    ),
    "people": (
        ("annotator", "The model against one annotator's own verdicts, never averaged with others'."),
        ("agrees with the others", "This annotator against what most of the others say of the same pairs."),
        ("criterion", "The same measures for every criterion that people have judged by."),
        ("Kendall τ", "How many prompts have which tau-b, from -1 to 1 in steps of 0.2."),
    ),
    "curve": (
        (
            "mean of … splits",
            "The way of learning is tried again and again with other prompts held out, strength chosen "
            "on the rest alone; every prompt is held out equally often. Intervals are by drawing prompts.",
        ),
        ("varies over splits", "Standard deviation of accuracy: what one split alone may be off."),
        ("mean distance", "Expected calibration error over all splits."),
        (
            "triples in a circle",
            "Of three responses to a prompt, how often each beats the next by the pairwise preference model, "
            "and by what most people said. Coin flips give a quarter.",
        ),
        ("accuracy, log-loss", "On the held-out prompts, after learning from that many pairs."),
    ),
    "benchmarks": (
        (
            "right",
            "Share of the comparisons in which every better response has a higher score than every worse "
            "one: the better of two, the best of four; where they have the same score, the chance with ties "
            "broken at random. Of a benchmark with several parts the mean over its sections or subsets. "
            "Prompts are drawn again and again for the interval.",
        ),
        ("longer", "The same for always taking the response with more characters."),
        ("it loses", "Accuracy where the longer response is the worse one."),
        ("balanced", "Mean of the accuracy where the longer response is better and where it is worse."),
    ),
    "wrong": (
        ("sure", "Probability that the model gives to the response that people find worse."),
        ("people", "Annotators for the better response : for the worse one (+ ties)."),
        ("scores", "Of the worse response > of the better one."),
    ),
    "policies": (("mean", "Of the scores of all responses of a policy, whoever judged them."),),
}
