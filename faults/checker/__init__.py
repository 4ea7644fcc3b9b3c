"""Decides whether anything was lost, doubled, reordered, altered or shown to the wrong eyes.

It shares nothing with the code it judges but the contract's generated stubs (`ronghe.*`).
"""
