"""Spoken replies: sentences, words, times and sound."""
