"""The room inside the walls: modules that run in a tool's process, before and beside the tool.

They need nothing but the standard library, and little of it, since each cold start loads them.
"""
