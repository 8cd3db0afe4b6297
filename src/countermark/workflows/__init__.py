"""The sequences: register, license, mark, anchor, trace, bundle. Each module is one verb and nothing else.

Workflows see the world through ports (``office.Office``); ``bootstrap`` decides what stands behind them.
"""
