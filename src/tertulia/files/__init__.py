"""Agents as files: a folder with an agent, its context graph, its behaviours, and conversations that it must hold."""
