"""Findings in the formats of other programs: SARIF, JUnit XML, GitLab's secret report, CSV.

Every renderer takes the same rows, :class:`mcpsec.report.entry.Entry`, and returns the whole text; none knows what
was examined, so that secret scanning and audits share them. Import the renderer from its module.
"""

__all__: list[str] = []
