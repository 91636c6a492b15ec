"""Writes results as text and SVG; measures nothing."""
