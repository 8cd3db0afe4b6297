"""Marks in generated text."""
