"""What is used of hibari-tts, which has no types: https://github.com/MMWilliams/hibari."""

SAMPLE_RATE: int
