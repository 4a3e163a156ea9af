"""What is used of faster-whisper, whose types are incomplete: https://github.com/SYSTRAN/faster-whisper."""

from faster_whisper.transcribe import WhisperModel as WhisperModel
