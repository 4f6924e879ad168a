"""What a stdio child may do on this machine: the launcher that takes privileges away before it becomes the program."""

from mcpsec.gateway.sandbox.launch import child_environment, launch_command

__all__ = ["child_environment", "launch_command"]
