"""Settings: flags over environment over YAML over defaults, validated with the name of the bad key.

    loaded = load_settings(os.environ, config_dir=Path("/etc/broadaxe"))
    loaded.settings.grpc.port

`Settings` has one attribute a section (see `broadaxe.config.settings`); `defaults()` needs no input.
"""

from broadaxe.config.errors import Problem, SettingsError
from broadaxe.config.loader import Flag, Loaded, load_settings
from broadaxe.config.settings import Settings, defaults

__all__ = ["Flag", "Loaded", "Problem", "Settings", "SettingsError", "defaults", "load_settings"]
