"""What a wrong environment variable raises; apart, so that commands need not read them all."""


class SettingsError(Exception):
    """An environment variable has a value that cannot be used."""
