"""Runs a policy folder on a robot (to come)."""
