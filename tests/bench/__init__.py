"""Measurements. Each prints one JSON object: ratios against a reference of the same run, and its conditions."""
