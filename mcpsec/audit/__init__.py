"""Judging a deployment, ours or anyone's, against the ten-point checklist: by its files and by its answers.

``runner.audit`` is the whole of it: targets become subjects (``collection``), readers parse them, checks judge them,
probes ask what only a running server can say. The texts of checks and the checklist are data.
"""

__all__: list[str] = []
