"""How well predictions match references: scores of cases and folders, their means, and whether two sets differ."""

from autounet.evaluation.bootstrap import Interval, PairedDifference, mean_interval, paired_difference
from autounet.evaluation.comparison import Comparison, compare_summaries
from autounet.evaluation.folders import evaluate_folders
from autounet.evaluation.metrics import METRICS, MetricChoice, metric_names
from autounet.evaluation.overlap import ClassScore, Confusion, Counts, confusion, score_case, score_confusion
from autounet.evaluation.summary import CaseScores, ClassMean, MetricMean, Summary, summarize, write_summary

__all__ = [
    "METRICS",
    "CaseScores",
    "ClassMean",
    "ClassScore",
    "Comparison",
    "Confusion",
    "Counts",
    "Interval",
    "MetricChoice",
    "MetricMean",
    "PairedDifference",
    "Summary",
    "compare_summaries",
    "confusion",
    "evaluate_folders",
    "mean_interval",
    "metric_names",
    "paired_difference",
    "score_case",
    "score_confusion",
    "summarize",
    "write_summary",
]
