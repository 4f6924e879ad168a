"""Tests mirror the package one to one; real handshakes, real servers, real repositories."""
