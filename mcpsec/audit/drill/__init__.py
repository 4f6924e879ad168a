"""Failure drills: a deployment, started on loopback, against faulty servers and a faulty network (checklist item 10).

``faults`` says what there is, ``site`` writes the copy of the deployment that is drilled, ``network``, ``server``,
``child`` and ``store`` are the parts that fail on purpose and keep their own record of it, ``client`` is who calls, and
``runner`` puts faults in and judges what came of them.
"""
