"""A run on one web page: ``python -m legged_gym_ext.report RUN``."""
