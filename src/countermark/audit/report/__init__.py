"""A report of an audit for people: one HTML file in each language, and the document itself."""

from countermark.audit.report.page import render, write_report
from countermark.audit.report.passages import Passages
from countermark.audit.report.pictures import Pictures

__all__ = ["Passages", "Pictures", "render", "write_report"]
