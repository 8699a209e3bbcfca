"""How well predictions match references: counts, scores, their means, and whole folders of files."""

from autounet.evaluation.folders import evaluate_folders
from autounet.evaluation.overlap import ClassScore, Confusion, Counts, confusion, score_case, score_confusion
from autounet.evaluation.summary import CaseScores, ClassMean, Summary, summarize, write_summary

__all__ = [
    "CaseScores",
    "ClassMean",
    "ClassScore",
    "Confusion",
    "Counts",
    "Summary",
    "confusion",
    "evaluate_folders",
    "score_case",
    "score_confusion",
    "summarize",
    "write_summary",
]
