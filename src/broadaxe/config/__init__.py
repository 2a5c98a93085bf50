"""Settings: flags over environment over YAML over defaults, validated with the name of the bad key.

    loaded = load_settings(os.environ, config_dir=Path("/etc/broadaxe"))
    loaded.settings.grpc.port

`Settings` has one attribute a section (see `broadaxe.config.settings`); `defaults()` needs no input.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broadaxe.config.errors import Problem, SettingsError
    from broadaxe.config.loader import Flag, Loaded, load_settings
    from broadaxe.config.settings import Settings, defaults
else:
    # Loaded on first use: declaring every setting takes longer than `broadaxe --version` may.
    _HOMES = {
        "errors": ("Problem", "SettingsError"),
        "loader": ("Flag", "Loaded", "load_settings"),
        "settings": ("Settings", "defaults"),
    }

    def __getattr__(name: str) -> object:
        for module, names in _HOMES.items():
            if name in names:
                return getattr(import_module(f"{__name__}.{module}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["Flag", "Loaded", "Problem", "Settings", "SettingsError", "defaults", "load_settings"]
